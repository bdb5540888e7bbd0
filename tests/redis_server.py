"""A real Redis of one's own: on a free port, with nothing kept on disk."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.dependencies import redis_executable
from tests.processes import Process, free_port


class RedisServer:
    """Starts with `start`, forgets everything with `stop`, and keeps its port over both."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: Process | None = None
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> Self:
        self._process = Process(
            [
                redis_executable(),
                *("--bind", "127.0.0.1", "--port", str(self.port)),
                *("--save", "", "--appendonly", "no", "--dir", str(self._directory)),
            ],
            log_path=self._directory / "redis.log",
        )
        self._process.until_ready(self.answers)
        return self

    def stop(self) -> None:
        """As if the power went: open connections break, and the memory is lost."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def flush(self) -> None:
        with self.client() as client:
            client.flushall()

    def client(self, *, database: int = 0) -> redis.Redis:
        """A client to look into it with; use it in a `with` statement, or close it."""
        return redis.Redis(
            port=self.port,
            db=database,
            socket_timeout=5,
            socket_connect_timeout=5,
            retry=Retry(NoBackoff(), 0),
        )

    def connections_received(self) -> int:
        """How many connections were ever opened to it; this call opens one itself."""
        with self.client() as client:
            return int(client.info("stats")["total_connections_received"])

    def answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
