"""Who is online, who came and who went: right over several processes, whatever becomes of them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from pytest_django import Settings
from websockets.exceptions import ConnectionClosed

import wsadapter
from tests.deployment import PYTHON, Deployment, DjangoServer, ServerKind
from tests.processes import Process, free_port
from tests.redis_server import RedisServer
from tests.shop import answers
from tests.system.presence_world import ROOMS, World
from tests.system.visitors import Visitor
from tests.waiting import aeventually

LEASE_SECONDS, GRACE_SECONDS = 2.0, 1.0
#: It is to be right within a lease; the rest is for a busy machine.
WITHIN_SECONDS = LEASE_SECONDS + 1.0
ADAPTER = {
    "USER_ID_FROM": "query:user",
    "LEASE_SECONDS": LEASE_SECONDS,
    "BEAT_SECONDS": 0.5,
    "GRACE_SECONDS": GRACE_SECONDS,
    "REDIS_TIMEOUT": 1.0,
    "DRAIN_SECONDS": 0.5,
}

HOUR_SECONDS = 3600.0
CYCLES = 50

#: What may be left in Redis when all are gone, for a time.
MEMORIES = {"{wsadapter}:reaped", "{wsadapter}:forgotten"}

MakeSite = Callable[..., Deployment]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    directory = tmp_path / "notes"
    directory.mkdir()
    return directory


@pytest.fixture
def site(deploy: Callable[..., Deployment], own_redis: RedisServer, notes: Path) -> MakeSite:
    """Make a site; its settings of wsadapter are `ADAPTER`, but for what it is given."""

    def make(**adapter: float) -> Deployment:
        deployment = deploy(
            redis_url=own_redis.url,
            adapter={**ADAPTER, **adapter},
            application="tests.system.presence_site:application",
        )
        deployment.environment["NOTES"] = str(notes)
        return deployment

    return make


@pytest.fixture
def world(own_redis: RedisServer, notes: Path, settings: Settings) -> World:
    """This process pushes to the site, and asks who is there, by the same Redis."""
    layer = {"BACKEND": "wsadapter.layers.RedisChannelLayer", "CONFIG": {"hosts": [own_redis.url]}}
    settings.CHANNEL_LAYERS = {"default": layer}
    return World(own_redis, notes)


# Those who are there


async def populated(world: World, servers: Sequence[DjangoServer]) -> Visitor:
    """Let a crowd in: users with two tabs, users who are at every server, anonymous ones.

    Returns:
        somebody at the first server who is in a room before all others.
    """
    watcher = await world.enter(servers[0].ws_url, room="hall")
    await asyncio.gather(
        *(
            world.enter(server.ws_url, user, room_of(user, seat), seat)
            for number, server in enumerate(servers)
            for seat, user in enumerate(users_at(number))
        )
    )
    await world.until_true(WITHIN_SECONDS)
    await world.until_told()
    await world.until_told_to(watcher)
    return watcher


def users_at(number: int) -> list[str | None]:
    of_two_tabs = [f"{number}-{user}" for user in range(8)]
    of_every_server = [f"everywhere-{user}" for user in range(4)]
    return [*of_two_tabs, *of_two_tabs, *of_every_server, *[None] * 6]


def room_of(user: str | None, seat: int) -> str:
    number = seat if user is None else int(user[-1])
    return (*ROOMS, "")[number % 3]


async def nothing_is_left(world: World, servers: Sequence[DjangoServer]) -> None:
    """Everybody leaves, then the processes end: it is told, once, and Redis forgets it all."""
    await world.leave(list(world.visitors))
    await world.until_true(WITHIN_SECONDS)
    await world.until_told()
    await aeventually(lambda: world.keys().keys() <= MEMORIES)
    for server in servers:
        server.terminate()
        assert "Traceback" not in server.log()
    assert world.keys().keys() <= MEMORIES
    assert all(ttl > 0 for ttl in world.keys().values())
    await world.until_told()


# What becomes of the processes


@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
async def test_one_of_three_is_killed_under_load(
    site: MakeSite, world: World, kind: ServerKind
) -> None:
    servers = site().servers(kind, [{}] * 3)
    killed, *others = servers[1], servers[0], servers[2]
    watcher = await populated(world, servers)
    async with world.pushed_to():
        back = [visitor for visitor in world.at(killed.ws_url) if visitor.seat % 2]
        gone = [visitor for visitor in world.at(killed.ws_url) if not visitor.seat % 2]
        killed.kill()
        world.vanish(gone)
        await asyncio.gather(
            *(world.come_back(each, others[each.seat % 4 == 1].ws_url) for each in back)
        )
        await world.until_true(WITHIN_SECONDS)
        await world.until_told()
    await world.until_told_to(watcher)
    await nothing_is_left(world, others)


async def test_one_is_killed_and_the_other_one_empties(site: MakeSite, world: World) -> None:
    """Nobody is connected any more when the lease of the killed one ends."""
    killed, other = site().servers("uvicorn", [{}] * 2)
    await populated(world, [killed, other])
    there = world.at(killed.ws_url)
    killed.kill()
    world.vanish(there)
    await nothing_is_left(world, [other])


async def test_one_of_three_is_frozen_and_goes_on(site: MakeSite, world: World) -> None:
    servers = site().servers("uvicorn", [{}] * 3)
    stopped = servers[1]
    watcher = await populated(world, servers)
    async with world.pushed_to():
        there = world.at(stopped.ws_url)
        stopped.signal(signal.SIGSTOP)
        world.vanish(there)
        await world.until_true(WITHIN_SECONDS)
        await world.until_told()
        stopped.signal(signal.SIGCONT)
        world.appear(there)
        await world.until_true(WITHIN_SECONDS)
        await world.until_told()
    await world.until_told_to(watcher)
    await nothing_is_left(world, servers)


async def test_redis_loses_its_memory(site: MakeSite, world: World, own_redis: RedisServer) -> None:
    servers = site().servers("uvicorn", [{}] * 3)
    first = servers[0].ws_url
    await populated(world, servers)
    await world.leave(world.of_users("0-1"))
    await world.until_true()
    own_redis.stop()  # before it was due to tell that they are gone
    at_first = [visitor for visitor in world.of_users("everywhere-1") if visitor.url == first]
    await world.leave([*at_first, *world.of_users("0-2", "1-2", "everywhere-0")])
    await asyncio.sleep(LEASE_SECONDS + GRACE_SECONDS + 0.5)
    own_redis.start()
    # Somebody new, and somebody who is at processes that have not put them back by now.
    await asyncio.gather(*(enter_again(world, first, user) for user in ("new-2", "everywhere-1")))
    await world.until_true(WITHIN_SECONDS)
    await world.until_told()
    await nothing_is_left(world, servers)


async def test_redis_restarts_between_two_commands(
    site: MakeSite, world: World, own_redis: RedisServer
) -> None:
    """It forgets who has been told of, and everybody leaves while that is not sorted out."""
    servers = site().servers("uvicorn", [{}] * 2)
    await populated(world, servers)
    await world.leave(world.of_users("0-1", "1-1"))  # at once, so that one process tells of both
    await world.until_told()
    own_redis.stop()
    own_redis.start()
    await world.until_true(WITHIN_SECONDS)
    await nothing_is_left(world, servers)


async def enter_again(world: World, url: str, user: str) -> None:
    """Try until the server, which needs its Redis for that, lets one in."""

    async def is_let_in() -> bool:
        with suppress(ConnectionClosed):
            await world.enter(url, user, room_of(user, 0))
            return True
        return False

    await aeventually(is_let_in)


async def test_redis_is_out_for_longer_than_lease_and_grace(
    site: MakeSite, world: World, own_redis: RedisServer
) -> None:
    # At the defaults lease and grace are twenty seconds. The grace here is long enough for every
    # process to be back: while Redis is away, each tries once a second.
    grace_seconds = 3.0
    servers = site(GRACE_SECONDS=grace_seconds).servers("uvicorn", [{}] * 3)
    first = servers[0].ws_url
    await populated(world, servers)
    with frozen(own_redis):
        at_first = [visitor for visitor in world.of_users("everywhere-1") if visitor.url == first]
        await world.leave([*at_first, *world.of_users("0-2", "1-2", "everywhere-0")])
        await asyncio.sleep(LEASE_SECONDS + grace_seconds + 0.5)
    await world.until_true(WITHIN_SECONDS)
    await world.until_told()
    await nothing_is_left(world, servers)


@contextmanager
def frozen(server: RedisServer) -> Iterator[None]:
    """It keeps its memory, and what it is asked meanwhile is done afterwards."""
    with server.client() as client:
        pid = int(client.info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_a_clock_is_an_hour_wrong(site: MakeSite, world: World) -> None:
    ahead = {"CLOCK_AHEAD_SECONDS": str(HOUR_SECONDS)}
    servers = site().servers("uvicorn", [{}, ahead, {}])
    right, wrong = servers[0].ws_url, servers[1].ws_url
    watcher = await populated(world, servers)
    assert await clocks_differ_by() > HOUR_SECONDS / 2
    # A reload that ends at another server, and users who leave.
    moving = [visitor for user in ("0-0", "1-0") for visitor in world.of_users(user)]
    await asyncio.gather(*(visitor.leave() for visitor in moving))
    await asyncio.gather(
        *(world.come_back(each, right if each.url == wrong else wrong) for each in moving)
    )
    await world.leave(world.of_users("0-3", "1-3", "2-3", "everywhere-3"))
    await world.until_true(WITHIN_SECONDS)
    await world.until_told()
    await world.until_told_to(watcher)
    there = world.at(wrong)
    servers[1].kill()
    world.vanish(there)
    await world.until_true(WITHIN_SECONDS)
    await world.until_told()
    await world.until_told_to(watcher)
    await nothing_is_left(world, [servers[0], servers[2]])


async def clocks_differ_by() -> float:
    """Seconds between the first and the last connection, by the clocks of their processes."""
    times = [client.connected_at async for client in wsadapter.aonline_clients()]
    return max(times) - min(times)


async def test_a_planned_restart_is_no_transition(site: MakeSite, world: World) -> None:
    servers = site(GRACE_SECONDS=4.0).servers("uvicorn", [{}] * 2)
    stopped, other = servers
    watcher = await populated(world, [other, stopped])
    leaving = world.at(stopped.ws_url)
    stopped.signal(signal.SIGTERM)
    await asyncio.to_thread(stopped.wait)
    assert await wsadapter.aonline_count() == len(world.at(other.ws_url))
    await asyncio.gather(*(world.come_back(each, other.ws_url) for each in leaving))
    await world.until_true(WITHIN_SECONDS)
    await world.until_told_to(watcher)
    await nothing_is_left(world, [other])


async def test_fifty_cycles_of_connect_and_kill(
    site: MakeSite, world: World, tmp_path: Path
) -> None:
    """A process is killed in each cycle, with those it serves; a client of another one is cut."""
    deployment = site()
    [steady] = deployment.servers("uvicorn", [{}])
    watcher = await world.enter(steady.ws_url, room="hall")
    with prefork(deployment, tmp_path / "prefork.log") as url:
        regular = await world.enter(url, "regular", "hall")
        for cycle in range(CYCLES):
            killed = await world.enter(url, f"killed-{cycle}", "hall")
            cut = await world.enter(steady.ws_url, f"cut-{cycle}", "hall")
            await aeventually(partial(is_told_of, world, killed))
            world.vanish([killed, cut])
            os.kill(await pid_of(killed), signal.SIGKILL)
            await cut.cut()
            regular = await world.come_back(regular, url)
        await world.until_true(WITHIN_SECONDS)
        await world.until_told()
        await world.until_told_to(watcher)
        await world.leave([regular])
        await world.until_told()
    await nothing_is_left(world, [steady])


@contextmanager
def prefork(deployment: Deployment, log_path: Path) -> Iterator[str]:
    """A process that is killed is replaced at once. Gives the address of whichever there is."""
    port = free_port()
    command = [*PYTHON, "-m", "tests.system.prefork", str(port)]
    parent = Process(command, log_path=log_path, environment=deployment.environment)
    try:
        parent.until_ready(lambda: answers(port))
        yield f"ws://127.0.0.1:{port}"
    finally:
        parent.kill()
        print(parent.log())


def is_told_of(world: World, visitor: Visitor) -> bool:
    return visitor.user in world.told()


async def pid_of(visitor: Visitor) -> int:
    """The process that serves a user's only connection."""
    [client] = [client async for client in wsadapter.aonline_clients(visitor.user)]
    return int(client.process.rpartition(":")[2])
