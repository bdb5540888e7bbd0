"""One message to many local connections: decoded once, and nobody harms the next."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from channels.exceptions import ChannelFull

from wsadapter.layers.fanout import Fanout, QueueMember
from wsadapter.wire.lanes import Priority
from wsadapter.wire.orders import Inspect, Kick, Message, Push

PUSH = Push("hello", frozenset({"b"}), Priority.HIGH, True)
KICK = Kick(4001, "bye", session="s")


class Remembering:
    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.gaps = 0

    def deliver(self, push: Push) -> None:
        self.taken.append(push)

    def kick(self, kick: Kick) -> None:
        self.taken.append(kick)

    def inspect(self, inspect: Inspect) -> None:
        self.taken.append(inspect)

    def event(self, message: Message) -> None:
        self.taken.append(message)

    def gap(self) -> None:
        self.gaps += 1


class Failing(Remembering):
    def deliver(self, push: Push) -> None:
        raise RuntimeError("a bug of one connection")


class Decoding:
    """Decodes a message anew at each call, and counts them."""

    def __init__(self, message: Message) -> None:
        self._message = message
        self.times = 0

    def __call__(self) -> Message:
        self.times += 1
        return dict(self._message)


@pytest.fixture
def fanout() -> Fanout:
    return Fanout()


def members(fanout: Fanout, count: int = 3, group: str = "news") -> list[Remembering]:
    made = [Remembering() for _ in range(count)]
    for number, member in enumerate(made):
        fanout.attach(f"channel {number}", member)
        fanout.join(group, f"channel {number}")
    return made


def test_a_push_is_decoded_once_and_the_same_for_all(fanout: Fanout) -> None:
    decode = Decoding(PUSH.to_message(carries_bytes=True))
    all_members = members(fanout)
    assert fanout.to_group("news", decode)
    assert decode.times == 1
    (first,), *others = [member.taken for member in all_members]
    assert first == PUSH
    assert all(taken[0] is first for taken in others)


def test_a_kick_reaches_all(fanout: Fanout) -> None:
    all_members = members(fanout)
    assert fanout.to_group("news", Decoding(KICK.to_message()))
    assert [member.taken for member in all_members] == [[KICK]] * 3


def test_an_inspection_is_no_push(fanout: Fanout) -> None:
    all_members = members(fanout)
    inspect = Inspect("client 1", "a channel")
    assert fanout.to_group("news", Decoding(inspect.to_message()))
    assert [member.taken for member in all_members] == [[inspect]] * 3


def test_a_plain_message_is_each_members_own(fanout: Fanout) -> None:
    all_members = members(fanout)
    assert fanout.to_group("news", Decoding({"type": "order.paid"}))
    messages = [member.taken[0] for member in all_members]
    assert messages == [{"type": "order.paid"}] * 3
    assert len({id(message) for message in messages}) == 3


def test_a_member_that_fails_fails_alone_and_is_logged(
    fanout: Fanout, caplog: pytest.LogCaptureFixture
) -> None:
    fanout.attach("failing", Failing())
    fanout.join("news", "failing")
    all_members = members(fanout)
    fanout.to_group("news", Decoding(PUSH.to_message(carries_bytes=True)))
    assert [member.taken for member in all_members] == [[PUSH]] * 3
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize(
    "junk",
    [
        {"type": "wsadapter.push"},
        {"type": "wsadapter.push", "text": 7},
        {"type": "wsadapter.push", "bytes": "text"},
        {"type": "wsadapter.push", "base64": "no base64!"},
        {"type": "wsadapter.push", "text": "x", "priority": 99},
        {"type": "wsadapter.push", "text": "x", "exclude": 7},
        {"type": "wsadapter.kick"},
        {"type": "wsadapter.kick", "code": "none"},
    ],
    ids=str,
)
def test_what_pretends_to_be_ours_reaches_nobody(fanout: Fanout, junk: Message) -> None:
    (member,) = members(fanout, 1)
    with pytest.raises((KeyError, TypeError, ValueError)):
        fanout.to_group("news", Decoding(junk))
    assert member.taken == []


def test_nobody_is_there_and_nothing_is_decoded(fanout: Fanout) -> None:
    decode = Decoding(KICK.to_message())
    assert not fanout.to_group("news", decode)
    assert not fanout.to_channel("channel", decode)
    assert decode.times == 0


def test_one_channel_is_reached_alone(fanout: Fanout) -> None:
    first, second, _ = members(fanout)
    assert fanout.to_channel("channel 1", Decoding(KICK.to_message()))
    assert (first.taken, second.taken) == ([], [KICK])


def test_the_first_to_join_and_the_last_to_leave_are_told_apart(fanout: Fanout) -> None:
    for channel in "ab":
        fanout.attach(channel, Remembering())
    assert [fanout.join("news", channel) for channel in "aab"] == [True, False, False]
    assert [fanout.leave("news", channel) for channel in "aab"] == [False, False, True]
    assert not fanout.leave("never joined", "a")
    assert fanout.groups == {}


def test_detaching_names_the_groups_that_are_empty_now(fanout: Fanout) -> None:
    for channel in "ab":
        fanout.attach(channel, Remembering())
        fanout.join("both", channel)
        fanout.join(f"of {channel}", channel)
    assert fanout.detach("a") == ["of a"]
    assert sorted(fanout.detach("b")) == ["both", "of b"]
    assert fanout.detach("b") == []
    assert not fanout.members and not fanout.groups


def test_a_member_that_takes_a_channel_over_takes_its_groups_over(fanout: Fanout) -> None:
    (old,) = members(fanout, 1)
    new = Remembering()
    fanout.attach("channel 0", new)
    fanout.to_group("news", Decoding(KICK.to_message()))
    assert (old.taken, new.taken) == ([], [KICK])


def test_a_member_may_leave_while_a_message_is_handed_over(fanout: Fanout) -> None:
    class Leaving(Remembering):
        def kick(self, kick: Kick) -> None:
            fanout.detach("leaving")

    fanout.attach("leaving", Leaving())
    fanout.join("news", "leaving")
    all_members = members(fanout)
    fanout.to_group("news", Decoding(KICK.to_message()))
    assert [member.taken for member in all_members] == [[KICK]] * 3


def test_a_gap_is_told_to_every_member_once(fanout: Fanout) -> None:
    all_members = members(fanout)
    members(fanout, 0)
    fanout.gap()
    assert [member.gaps for member in all_members] == [1, 1, 1]


# The queue of a plain consumer


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> QueueMember:
    return QueueMember("its.channel", 2, expiry_seconds=5, clock=clock)


async def test_a_message_may_wait_for_as_long_as_the_expiry_says(
    queue: QueueMember, clock: Clock
) -> None:
    queue.put({"type": "one"})
    clock.now += 5
    reading = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    assert reading.done() and reading.result() == {"type": "one"}
    assert queue.expired == 0


async def test_what_is_too_old_makes_room_for_what_is_new(
    queue: QueueMember, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    queue.put({"type": "old"})
    clock.now += 3
    queue.put({"type": "newer"})
    with pytest.raises(ChannelFull):
        queue.put({"type": "no.room"})
    clock.now += 3
    queue.put({"type": "new"})
    assert [await queue.get(), await queue.get()] == [{"type": "newer"}, {"type": "new"}]
    assert queue.expired == 1
    assert len(caplog.records) == 1


async def test_who_reads_waits_on_when_all_there_was_is_too_old(
    queue: QueueMember, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for kind in ("one", "two"):
        queue.put({"type": kind})
    clock.now += 6
    reading = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    assert not reading.done() and queue.waiting == 0
    queue.put({"type": "new"})
    assert await reading == {"type": "new"}
    assert queue.expired == 2
    (line,) = (record.getMessage() for record in caplog.records)
    assert "its.channel" in line and "expiry" in line
