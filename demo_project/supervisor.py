"""The parent of the whole demo: `python -m demo_project.supervisor [--port 9000]`.

It starts Redis, two server processes on one listening socket, a Celery worker and Celery beat;
starts again what is killed; stops Redis for five seconds on SIGUSR1; and on SIGINT, SIGTERM or
SIGHUP ends all of them and removes what they wrote.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from demo_project import port, redis_server
from demo_project.accounts import NAMES, PASSWORD
from demo_project.child import Child, ChildFailed

REDIS_PAUSE_SECONDS = 5.0
ROOT = Path(__file__).resolve().parent.parent


def say(text: str = "") -> None:
    try:
        print(text, flush=True)
    except OSError:  # the terminal is gone; what is left to do must still be done
        pass


class Supervisor:
    def __init__(self, listener: socket.socket, directory: Path) -> None:
        self.address = "http://{}:{}/".format(*listener.getsockname())
        self._socket = listener.fileno()
        self._directory = directory
        self._redis_port = redis_server.free_port()
        self._environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "demo_project.settings",
            "REDIS_URL": f"redis://127.0.0.1:{self._redis_port}/0",
            "DEMO_DATABASE": str(directory / "demo.sqlite3"),
            "DEMO_SECRET_KEY": secrets.token_urlsafe(50),
            "DEMO_SUPERVISED": "1",
            "DEMO_SOCKET": str(self._socket),
        }
        self._redis_pause_seconds = 0.0
        self._redis = self._make_redis()
        self._web = [self._make_web(number) for number in (1, 2)]
        self._celery = [self._make_worker(), self._make_beat()]

    def _make_redis(self) -> Child:
        binary = redis_server.find_binary()
        command = redis_server.command(binary, self._redis_port, self._directory)
        return self._child("redis", command, ready=redis_server.READY)

    def _make_web(self, number: int) -> Child:
        command = [sys.executable, "-m", "demo_project.server"]
        return self._child(f"server-{number}", command, ready="Listening", inherit=[self._socket])

    def _make_worker(self) -> Child:
        options = ["--concurrency=3", "--loglevel=INFO", "--without-gossip", "--without-mingle"]
        command = [sys.executable, "-m", "celery", "-A", "demo_project", "worker", *options]
        return self._child("celery-worker", command, ready=" ready.")

    def _make_beat(self) -> Child:
        schedule = f"--schedule={self._directory / 'celerybeat-schedule'}"
        options = [schedule, "--pidfile=", "--loglevel=INFO"]
        command = [sys.executable, "-m", "celery", "-A", "demo_project", "beat", *options]
        return self._child("celery-beat", command, ready="beat: Starting")

    def _child(
        self, name: str, command: list[str], *, ready: str, inherit: Sequence[int] = ()
    ) -> Child:
        return Child(
            name,
            command,
            ready=ready,
            log=self._directory / f"{name}.log",
            environment=self._environment,
            inherit=inherit,
        )

    async def start(self) -> None:
        say(f"  Redis           127.0.0.1:{self._redis_port}, a real one, nothing on disk")
        await self._redis.start()
        say("  Database        SQLite: migrating, making two accounts and some rooms")
        await self._prepare_database()
        say(f"  Servers         two processes behind {self.address}")
        say("  Celery          a worker and beat")
        await _all(child.start() for child in [*self._web, *self._celery])

    async def _prepare_database(self) -> None:
        log = self._directory / "database.log"
        command = [sys.executable, "manage.py", "demo_database"]
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command, env=self._environment, stdout=output, stderr=output
            )
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if code:
            raise ChildFailed(f"The database could not be prepared:\n\n{log.read_text()}")

    def announce(self) -> None:
        say()
        say(f"  Open            {self.address}")
        say(
            f"  Accounts        {' and '.join(NAMES)}, password {PASSWORD} (the page needs neither)"
        )
        say(f"  Logs            {self._directory}")
        say("  Stop            Ctrl-C")
        say()

    async def keep_running(self) -> None:
        await _all(self._keep(child) for child in [self._redis, *self._web, *self._celery])

    async def _keep(self, child: Child) -> None:
        while True:
            code = await child.ended()
            if child is self._redis and self._redis_pause_seconds:
                say(f"  redis: stopped for {self._redis_pause_seconds:.0f} seconds")
                await asyncio.sleep(self._redis_pause_seconds)
                self._redis_pause_seconds = 0.0
            else:
                say(f"  {child.name}: ended with {_in_words(code)}; starting it again")
            await child.start()
            say(f"  {child.name}: ready")

    def pause_redis(self) -> None:
        """Stops Redis for `REDIS_PAUSE_SECONDS`, unless that is happening already."""
        if not self._redis_pause_seconds:
            self._redis_pause_seconds = REDIS_PAUSE_SECONDS
            self._redis.signal(signal.SIGTERM)

    async def stop(self) -> None:
        await asyncio.gather(*(child.stop() for child in [*self._web, *self._celery]))
        await self._redis.stop()


async def _all(jobs: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Runs them side by side; the first error ends the others and is raised as it is."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _in_words(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


async def run(listener: socket.socket, directory: Path) -> None:
    supervisor = Supervisor(listener, directory)
    _on_signals(supervisor)
    try:
        await supervisor.start()
        supervisor.announce()
        await supervisor.keep_running()
    finally:
        say("  Stopping everything.")
        await supervisor.stop()


def _on_signals(supervisor: Supervisor) -> None:
    loop = asyncio.get_running_loop()
    running = asyncio.current_task()
    assert running is not None
    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def end() -> None:
        for number in ends:  # a second Ctrl-C must not interrupt the stopping
            loop.add_signal_handler(number, lambda: None)
        running.cancel()

    for number in ends:
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGUSR1, supervisor.pause_redis)


def main(arguments: list[str]) -> int:
    say("wsadapter demo")
    try:
        with (
            port.listen(port.wanted(arguments)) as listener,
            TemporaryDirectory(prefix="wsadapter-demo-", ignore_cleanup_errors=True) as directory,
        ):
            listener.set_inheritable(True)
            asyncio.run(run(listener, Path(directory)))
    except asyncio.CancelledError:
        say("  Stopped; nothing is left behind.")
        return 0
    except (ChildFailed, port.PortUnusable, redis_server.NoRedis) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main(sys.argv[1:]))
