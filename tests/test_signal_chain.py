"""A signal is taken before the server's own handler, however that was installed, and handed on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop

from tests.processes import ROOT
from tests.waiting import aeventually
from wsadapter.signal_chain import SAME_SECONDS, SignalChain

NUMBER, OTHER = signal.SIGUSR1, signal.SIGUSR2

NewLoop = Callable[[], asyncio.AbstractEventLoop]
LOOPS: dict[str, NewLoop] = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Heard(list[str]):
    """What was called, in order."""

    def by(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.append(name)

    async def eventually(self, *expected: str) -> None:
        """Exactly this, once the event loop has had the time for it."""
        await aeventually(lambda: len(self) >= len(expected))
        for _ in range(10):  # and nothing more
            await asyncio.sleep(0)
        assert self == list(expected)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture(params=LOOPS.values(), ids=LOOPS)
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """Afterwards both signals have the handlers that they had."""
    handlers = [signal.getsignal(number) for number in (NUMBER, OTHER)]
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner
    for number, handler in zip((NUMBER, OTHER), handlers, strict=True):
        signal.signal(number, handler)


def by_signal(number: int, handler: Callable[..., None]) -> None:
    signal.signal(number, handler)


def by_the_loop(number: int, handler: Callable[..., None]) -> None:
    asyncio.get_running_loop().add_signal_handler(number, handler)


@pytest.fixture(params=[by_signal, by_the_loop], ids=["by signal", "by the loop"])
def handle(request: pytest.FixtureRequest) -> Callable[..., None]:
    """How a server installs a handler."""
    install: Callable[..., None] = request.param
    return install


def chain(heard: Heard, *seconds: float, same_seconds: float = SAME_SECONDS) -> SignalChain:
    """One whose clock shows these times, one after the other."""
    times = iter(seconds or (0.0,))
    return SignalChain(
        NUMBER,
        first=heard.by("first"),
        again=heard.by("again"),
        same_seconds=same_seconds,
        clock=lambda: next(times),
    )


def wakeup_fd() -> int:
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
    return fd


def test_the_first_signal_is_taken_and_handed_on_later(
    runner: asyncio.Runner, handle: Callable[..., None], heard: Heard
) -> None:
    async def serve() -> None:
        handle(NUMBER, heard.by("server"))
        own = chain(heard)
        assert own.install()
        assert not own.has_taken
        signal.raise_signal(NUMBER)
        await heard.eventually("first")
        assert own.has_taken
        own.hand_on()
        await heard.eventually("first", "server")
        assert not own.has_taken

    runner.run(serve())


def test_a_second_signal_is_handed_on_at_once_and_a_third_is_the_servers_alone(
    runner: asyncio.Runner, handle: Callable[..., None], heard: Heard
) -> None:
    async def serve() -> None:
        handle(NUMBER, heard.by("server"))
        own = chain(heard, 0.0, SAME_SECONDS)
        own.install()
        signal.raise_signal(NUMBER)
        await heard.eventually("first")
        signal.raise_signal(NUMBER)
        await aeventually(lambda: len(heard) == 3)
        assert sorted(heard) == ["again", "first", "server"]
        heard.clear()
        signal.raise_signal(NUMBER)
        await heard.eventually("server")

    runner.run(serve())


def test_how_soon_that_is_can_be_told(
    runner: asyncio.Runner, handle: Callable[..., None], heard: Heard
) -> None:
    async def serve() -> None:
        handle(NUMBER, heard.by("server"))
        own = chain(heard, 0.0, 0.2, 0.3, same_seconds=0.3)
        own.install()
        for _ in range(2):
            signal.raise_signal(NUMBER)
        await heard.eventually("first")
        signal.raise_signal(NUMBER)
        await aeventually(lambda: len(heard) == 3)
        assert sorted(heard) == ["again", "first", "server"]

    runner.run(serve())


def test_what_comes_twice_from_two_sides_is_one_signal(
    runner: asyncio.Runner, handle: Callable[..., None], heard: Heard
) -> None:
    async def serve() -> None:
        handle(NUMBER, heard.by("server"))
        own = chain(heard, 0.0, SAME_SECONDS - 0.01, SAME_SECONDS - 0.01)
        own.install()
        for _ in range(3):
            signal.raise_signal(NUMBER)
        await heard.eventually("first")
        assert own.has_taken
        own.hand_on()
        await heard.eventually("first", "server")

    runner.run(serve())


def test_other_signals_reach_whoever_waits_for_them(
    runner: asyncio.Runner, handle: Callable[..., None], heard: Heard
) -> None:
    async def serve() -> None:
        handle(NUMBER, heard.by("server"))
        handle(OTHER, heard.by("other"))
        own = chain(heard)
        own.install()
        signal.raise_signal(OTHER)
        await heard.eventually("other")
        signal.raise_signal(NUMBER)
        await heard.eventually("other", "first")
        own.remove()

    runner.run(serve())


def test_a_signal_of_another_process_wakes_a_loop_that_sleeps(
    runner: asyncio.Runner, handle: Callable[..., None], heard: Heard
) -> None:
    async def serve() -> None:
        handle(NUMBER, heard.by("server"))
        taken = asyncio.Event()
        own = SignalChain(NUMBER, first=taken.set, again=heard.by("again"))
        own.install()
        threading.Timer(0, os.kill, (os.getpid(), NUMBER)).start()
        async with asyncio.timeout(10):
            await taken.wait()
        own.hand_on()
        await heard.eventually("server")

    runner.run(serve())


def test_nothing_is_left_of_it(
    runner: asyncio.Runner, handle: Callable[..., None], heard: Heard
) -> None:
    async def serve() -> None:
        handle(NUMBER, heard.by("server"))
        before = signal.getsignal(NUMBER), wakeup_fd()
        own = chain(heard)
        own.install()
        assert (signal.getsignal(NUMBER), wakeup_fd()) != before
        own.remove()
        assert (signal.getsignal(NUMBER), wakeup_fd()) == before
        own.remove()
        signal.raise_signal(NUMBER)
        await heard.eventually("server")

    runner.run(serve())


def test_whoever_took_the_place_meanwhile_keeps_it(runner: asyncio.Runner, heard: Heard) -> None:
    async def serve() -> None:
        own = chain(heard)
        own.install()
        newer = heard.by("newer")
        signal.signal(NUMBER, newer)
        own.remove()
        assert signal.getsignal(NUMBER) is newer

    runner.run(serve())


def test_after_its_loop_the_signal_is_the_servers(runner: asyncio.Runner, heard: Heard) -> None:
    signal.signal(NUMBER, heard.by("server"))

    async def serve() -> None:
        chain(heard).install()

    runner.run(serve())
    runner.close()
    signal.raise_signal(NUMBER)
    assert heard == ["server"]


async def test_what_is_ignored_stays_ignored(heard: Heard) -> None:
    before = signal.signal(NUMBER, signal.SIG_IGN)
    try:
        assert not chain(heard).install()
        assert signal.getsignal(NUMBER) is signal.SIG_IGN
    finally:
        signal.signal(NUMBER, before)


DYING = """
import asyncio, signal
from wsadapter.signal_chain import SignalChain

async def serve():
    taken = asyncio.Event()
    chain = SignalChain(signal.SIGTERM, first=taken.set, again=print)
    assert chain.install()
    signal.raise_signal(signal.SIGTERM)
    await taken.wait()
    print("drained", flush=True)
    chain.hand_on()
    await asyncio.Event().wait()

asyncio.run(serve())
"""


def test_where_nobody_handles_it_the_process_ends_as_it_would_have() -> None:
    command = [sys.executable, "-W", "error", "-c", DYING]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, "drained\n", "")


def test_only_the_main_thread_has_signals(heard: Heard) -> None:
    async def install() -> bool:
        return chain(heard).install()

    installed: list[Any] = []
    thread = threading.Thread(target=lambda: installed.append(asyncio.run(install())))
    thread.start()
    thread.join()
    assert installed == [False]


async def test_a_loop_that_cannot_watch_descriptors_is_left_alone(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", refuse)
    before = signal.getsignal(NUMBER), wakeup_fd()
    assert not chain(heard).install()
    assert (signal.getsignal(NUMBER), wakeup_fd()) == before
