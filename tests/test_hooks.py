"""Observers harm nobody, cost nothing while there are none, and hear what each hook promises."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from channels.layers import get_channel_layer

from tests.consumers.browser import Browser
from tests.consumers.conftest import browser, log
from tests.waiting import aeventually
from wsadapter import (
    Transient,
    abroadcast,
    abulk,
    asend_to_client,
    asend_to_user,
    handler,
    hooks,
    outages,
)
from wsadapter.broadcasting import _publisher
from wsadapter.consumers import AdapterConsumer
from wsadapter.corking import current_cork
from wsadapter.errors import StoreUnavailable
from wsadapter.gate import Gate, Terms
from wsadapter.hooks import Hook
from wsadapter.inbox import MAX_EVENTS
from wsadapter.layers.fanout import Fanout, QueueMember
from wsadapter.outlet import Stats
from wsadapter.wire.envelope import PONG
from wsadapter.wire.heartbeat import Action, Heartbeat, HeartbeatMode
from wsadapter.wire.orders import Push

__all__ = ["browser", "log"]

Connect = Callable[..., Browser]


@contextlib.contextmanager
def heard(hook: Hook[...]) -> Iterator[list[tuple[Any, ...]]]:
    """What a hook is called with inside of the block."""
    calls: list[tuple[Any, ...]] = []

    def note(*arguments: Any) -> None:
        calls.append(arguments)

    hook.observe(note)
    try:
        yield calls
    finally:
        hook.forget(note)


# A hook


def test_it_is_false_while_nobody_observes() -> None:
    hook: Hook[[int]] = Hook("counted")
    assert not hook
    with heard(hook) as calls:
        assert hook
        hook(7)
    assert not hook
    hook(8)
    assert calls == [(7,)]


def test_who_is_added_twice_is_called_once() -> None:
    hook: Hook[[int]] = Hook("counted")
    with heard(hook) as calls, heard(hook) as others:
        hook.observe(hook._observers[0])
        hook(7)
    assert calls == others == [(7,)]


def test_one_that_raises_is_told_of_once_and_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hook: Hook[[int]] = Hook("counted")
    called: list[int] = []

    def broken(number: int) -> None:
        called.append(number)
        raise RuntimeError("a bug of an observer")

    hook.observe(broken)
    with caplog.at_level(logging.ERROR, "wsadapter.hooks"), heard(hook) as calls:
        hook(1)
        hook(2)
    assert called == [1, 2] and calls == [(1,), (2,)]
    (record,) = caplog.records
    assert record.exc_info and "failed to observe counted" in record.getMessage()


def test_one_that_is_added_while_others_are_called_waits_for_the_next_time() -> None:
    hook: Hook[[]] = Hook("grew")
    called: list[str] = []
    hook.observe(lambda: hook.observe(lambda: called.append("newcomer")))
    hook()
    assert called == []


# A fan-out


class Taking:
    """A member of a fan-out; what it is handed may be held back."""

    def __init__(self, when: Callable[[], None] = lambda: None) -> None:
        self._when = when

    def deliver(self, push: Push) -> None:
        self._when()


def fanout_of(*members: Taking) -> Fanout:
    fanout = Fanout()
    for number, member in enumerate(members):
        fanout.attach(str(number), member)  # type: ignore[arg-type]
        fanout.join("news", str(number))
    return fanout


def push_sent(at: float | None) -> dict[str, Any]:
    push = Push("hello")
    push.sent_at = at
    return push.to_message(carries_bytes=True)


async def test_a_fan_out_tells_how_many_and_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0)
    both = SimpleNamespace(perf_counter=lambda: clock.now, time=lambda: clock.now + 1000)
    monkeypatch.setattr("wsadapter.layers.fanout.time", both)

    def take() -> None:
        clock.now += 0.25

    fanout = fanout_of(Taking(take), Taking(take))
    with heard(hooks.fanned_out) as calls:
        fanout.to_group("news", lambda: push_sent(1099.0))
        fanout.to_channel("1", lambda: push_sent(None))
    assert calls == [(2, 0.5, 1.5), (1, 0.25, None)]


async def test_what_is_held_back_to_the_end_of_the_turn_is_measured_there() -> None:
    order: list[str] = []

    class Corked(Taking):
        def deliver(self, push: Push) -> None:
            current_cork().add(SimpleNamespace(uncork=lambda: order.append("written")))

    fanout = fanout_of(Corked(), Corked())
    hooks.fanned_out.observe(measured := lambda *arguments: order.append("measured"))
    try:
        current_cork().hold()
        fanout.to_group("news", lambda: push_sent(None))
        assert order == []
        await asyncio.sleep(0)
    finally:
        hooks.fanned_out.forget(measured)
    assert order == ["written", "written", "measured"]


async def test_a_plain_consumer_that_does_not_keep_up() -> None:
    member = QueueMember("channel", capacity=1)
    with heard(hooks.event_dropped) as calls:
        for _ in range(3):
            member.event({"type": "news"})
    assert calls == [("channel",), ("channel",)]


# Publishing


async def test_a_push_says_when_it_left_only_if_somebody_observes_that(browser: Connect) -> None:
    await browser(AdapterConsumer).open()
    with heard(hooks.fanned_out) as calls:
        await abroadcast("unobserved")
        with heard(hooks.published):
            await abroadcast("observed")
        await aeventually(lambda: len(calls) == 2)
    (_, _, unknown), (members, _, age_seconds) = calls
    assert unknown is None
    assert members == 1 and 0 <= age_seconds < 10


async def test_the_time_travels_in_milliseconds_and_an_older_process_ignores_it() -> None:
    message = push_sent(1_700_000_000.1234)
    assert message == {"type": "wsadapter.push", "text": "hello", "at": 1_700_000_000_123}
    assert Push.from_message(message).sent_at == 1_700_000_000.123
    assert Push.from_message({"type": "wsadapter.push", "text": "hello"}).sent_at is None
    assert "at" not in push_sent(None)


async def test_a_helper_tells_its_name_and_how_many_posts(browser: Connect) -> None:
    client_id = await browser(AdapterConsumer).open()
    with heard(hooks.published) as calls:
        await abroadcast("one")
        await asend_to_client(client_id, "two")
        async with abulk():
            await asend_to_user(1, "three")
            await abroadcast("four")
    assert [(helper, posts, error) for helper, posts, _, error in calls] == [
        ("broadcast", 1, None),
        ("send_to_client", 1, None),
        ("bulk", 2, None),
    ]
    assert all(0 <= seconds < 10 for _, _, seconds, _ in calls)


async def test_what_cannot_be_published_is_told_with_its_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*arguments: Any) -> None:
        raise StoreUnavailable("Redis is away.")

    monkeypatch.setattr(_publisher(), "apublish", fail, raising=True)
    with heard(hooks.published) as calls, pytest.raises(StoreUnavailable):
        await abroadcast("lost")
    ((helper, posts, _, error),) = calls
    assert (helper, posts) == ("broadcast", 1) and isinstance(error, StoreUnavailable)


# One connection


class Clerk(AdapterConsumer):
    """Its handlers end in each way."""

    heartbeat_interval = 0.02
    heartbeat_timeout = 30

    @handler("ask")
    async def ask(self) -> str:
        return "answer"

    @handler("fail")
    async def fail(self) -> None:
        raise RuntimeError("a bug")

    @handler("later")
    async def later(self) -> None:
        raise Transient("try again")

    @handler("count")
    async def count(self, message: dict[str, int]) -> None:
        """Takes numbers only."""


async def test_a_handler_tells_its_type_and_the_kind_of_its_failure(browser: Connect) -> None:
    client = browser(Clerk)
    await client.open()
    with heard(hooks.handled) as calls:
        for type in ("ask", "fail", "later", "count", "invented by the client"):
            await client.send_json_to({"type": type, "id": 1, "number": "seven"})
        await aeventually(lambda: len(calls) == 5)
    assert [(type, kind) for type, _, kind in calls] == [
        ("ask", None),
        ("fail", "internal_error"),
        ("later", "transient"),
        ("count", "invalid"),
        ("unknown", "unknown_type"),
    ]


async def test_what_has_no_room_in_an_inbox(browser: Connect) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Busy(AdapterConsumer):
        groups = ["news"]

        async def news(self, event: dict[str, Any]) -> None:
            begun.set()
            await go_on.wait()

    await browser(Busy).open()
    layer = get_channel_layer()
    await layer.group_send("news", {"type": "news"})
    await begun.wait()
    with heard(hooks.event_dropped) as calls:
        for _ in range(MAX_EVENTS + 3):
            await layer.group_send("news", {"type": "news"})
    assert calls == [("inbox",)] * 3
    go_on.set()


def test_a_pong_tells_its_round_trip_and_one_that_nobody_asked_for_does_not() -> None:
    now = time.monotonic()
    heartbeat = Heartbeat(10, 10, HeartbeatMode.AUTO, now=now - 15)
    stats = Stats()
    terms = Terms(max_message_size=100, rate_limit=None, rate_limits={}, priorities={})
    gate = Gate(SimpleNamespace(stats=stats, client_id="a"), heartbeat, terms)  # type: ignore[arg-type]
    with heard(hooks.ponged) as calls:
        assert heartbeat.beat(now - 3).action is Action.PING
        gate.admit(PONG)
        gate.admit(PONG)
    ((seconds,),) = calls
    assert seconds == stats.round_trip and 3 <= seconds < 60


async def test_a_ping_without_an_answer(browser: Connect) -> None:
    client = browser(
        type("Strict", (Clerk,), {"heartbeat_timeout": 0.02, "heartbeat_mode": "always"})
    )
    await client.open()
    with heard(hooks.heartbeat_timed_out) as calls:
        assert (await client.closed()).code == 3012
    assert calls == [()]


async def test_every_connection_begins_and_ends_once_even_one_that_is_refused(
    browser: Connect,
) -> None:
    refusing = type("Refusing", (Clerk,), {"allow_anonymous": False})
    with heard(hooks.connection_begins) as begun, heard(hooks.connection_ended) as ended:
        client = browser(Clerk)
        await client.open()
        await browser(refusing).refused()
        assert len(begun) == 2 and ended == begun[1:]
        await client.leave()
    assert ended == begun[::-1]


# Redis


def test_what_was_away_is_back() -> None:
    with heard(hooks.came_back) as calls:
        outages.ends("Redis at one")
        outages.begins("Redis at one", TimeoutError())
        outages.ends("Redis at one")
        outages.ends("Redis at one")
    assert calls == [("Redis at one",)]
