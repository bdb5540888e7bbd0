"""When a client is asked and when it is dead; time is an argument, nothing here sleeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from wsadapter.wire.heartbeat import Action, Heartbeat, HeartbeatMode, Verdict

MODES = list(HeartbeatMode)


def heartbeat(mode: HeartbeatMode = HeartbeatMode.ALWAYS, *, now: float = 0) -> Heartbeat:
    return Heartbeat(3, 2, mode, now=now)


@dataclass
class Client:
    """A client and the server's task that asks about it, on a clock that is played forward.

    Attributes:
        answers_after: seconds from a ping to its pong; None for a client that never answers.
        late_by: seconds from when the task wanted to wake to when it does.
    """

    heart: Heartbeat
    answers_after: float | None = None
    late_by: Callable[[], float] = lambda: 0.0
    now: float = 0.0
    pings: int = 0

    def lives(self, *, until: float) -> bool:
        """Play until a time. Returns whether the client was still held for alive then."""
        pong_at: float | None = None
        ask_at = self.heart.beat(self.now).ask_at
        while ask_at < until:
            self.now = ask_at + self.late_by()
            if pong_at is not None and pong_at <= self.now:
                self.heart.ponged(pong_at)
                pong_at = None
            action, ask_at = self.heart.beat(self.now)
            if action is Action.DEAD:
                return False
            if action is Action.PING:
                self.pings += 1
                if self.answers_after is not None and pong_at is None:
                    pong_at = self.now + self.answers_after
        return True


def test_silence_is_asked_about_after_the_interval() -> None:
    heart = heartbeat()
    assert heart.beat(0) == Verdict(Action.WAIT, ask_at=3)
    assert heart.beat(2.9) == Verdict(Action.WAIT, ask_at=3)
    assert heart.beat(3) == Verdict(Action.PING, ask_at=5)


def test_interval_3_and_timeout_2_declare_a_silent_client_dead_5_s_after_its_last_frame() -> None:
    heart = heartbeat(now=100)
    heart.heard(107)
    assert heart.beat(110) == Verdict(Action.PING, ask_at=112)
    assert heart.beat(111.9) == Verdict(Action.WAIT, ask_at=112)
    assert heart.beat(112).action is Action.DEAD


def test_any_frame_counts_as_life() -> None:
    heart = heartbeat()
    heart.heard(2)
    assert heart.beat(3) == Verdict(Action.WAIT, ask_at=5)
    assert heart.beat(5) == Verdict(Action.PING, ask_at=7)
    heart.heard(6.9)
    assert heart.beat(7) == Verdict(Action.WAIT, ask_at=9.9)


def test_a_ping_is_sent_once_however_often_one_asks() -> None:
    heart = heartbeat()
    assert heart.beat(3).action is Action.PING
    assert [heart.beat(3 + step / 10).action for step in range(19)] == [Action.WAIT] * 19


def test_the_round_trip_is_from_ping_to_pong() -> None:
    heart = heartbeat()
    assert heart.round_trip is None
    heart.beat(3)
    heart.ponged(3.25)
    assert heart.round_trip == 0.25


def test_a_pong_that_nobody_asked_for_is_no_round_trip() -> None:
    heart = heartbeat()
    heart.ponged(1)
    assert heart.round_trip is None
    assert heart.beat(1) == Verdict(Action.WAIT, ask_at=4)


# Modes


def test_auto_spares_those_who_never_answered() -> None:
    client = Client(heartbeat(HeartbeatMode.AUTO))
    assert client.lives(until=100)
    assert client.pings == 33, "they are pinged every interval all the same"


def test_auto_holds_a_client_to_its_first_answer() -> None:
    heart = heartbeat(HeartbeatMode.AUTO)
    heart.ponged(0)
    assert not Client(heart).lives(until=5.1)


def test_auto_does_not_take_a_frame_for_an_answer() -> None:
    heart = heartbeat(HeartbeatMode.AUTO)
    heart.beat(3)
    heart.heard(4)
    assert Client(heart, now=4).lives(until=100)


def test_always_holds_everybody_to_answering() -> None:
    assert not Client(heartbeat(HeartbeatMode.ALWAYS)).lives(until=5.1)


def test_never_kills_nobody_not_even_those_who_have_answered() -> None:
    heart = heartbeat(HeartbeatMode.NEVER)
    heart.ponged(0)
    client = Client(heart)
    assert client.lives(until=100)
    assert client.pings


# Late wake-ups: a blocked loop, a stopped process


def test_a_late_wake_up_pings_once_more_before_it_says_dead() -> None:
    heart = heartbeat()
    assert heart.beat(3) == Verdict(Action.PING, ask_at=5)
    assert heart.beat(60) == Verdict(Action.PING, ask_at=62)
    assert heart.beat(62).action is Action.DEAD


def test_a_client_that_answers_after_a_late_wake_up_lives_on() -> None:
    heart = heartbeat()
    heart.beat(3)
    heart.beat(60)
    heart.ponged(60.1)
    assert heart.beat(62) == Verdict(Action.WAIT, ask_at=63.1)


@pytest.mark.parametrize(
    ("late_by", "action"),
    [(0.01, Action.DEAD), (1, Action.DEAD), (1.01, Action.PING), (2, Action.PING)],
)
def test_late_is_who_overslept_by_half_of_the_shorter_time(late_by: float, action: Action) -> None:
    heart = heartbeat()
    heart.beat(3)
    assert heart.beat(5 + late_by).action is action


def test_a_late_first_beat_pings() -> None:
    assert heartbeat().beat(1000) == Verdict(Action.PING, ask_at=1002)


# Properties

seconds = st.floats(0.1, 100)


@given(seconds, seconds, st.sampled_from(MODES), st.data())
def test_a_client_that_answers_is_never_dead(
    interval: float, timeout: float, mode: HeartbeatMode, data: st.DataObject
) -> None:
    heart = Heartbeat(interval, timeout, mode, now=0)
    late = st.sampled_from([0.0, 0.001, min(interval, timeout), 1000.0])
    client = Client(
        heart,
        answers_after=data.draw(st.floats(0, timeout)),
        late_by=lambda: data.draw(late),
    )
    assert client.lives(until=20 * (interval + timeout))


@given(seconds, seconds, st.floats(0, 1000))
def test_a_silent_client_is_dead_interval_and_timeout_after_its_last_frame(
    interval: float, timeout: float, last_frame: float
) -> None:
    heart = Heartbeat(interval, timeout, HeartbeatMode.ALWAYS, now=0)
    heart.heard(last_frame)
    client = Client(heart, now=last_frame)
    assert not client.lives(until=last_frame + interval + timeout + 0.001)
    assert client.now == pytest.approx(last_frame + interval + timeout)


@given(seconds, seconds, st.sampled_from(MODES), st.lists(st.tuples(seconds, st.integers(0, 2))))
def test_every_verdict_but_dead_asks_later(
    interval: float, timeout: float, mode: HeartbeatMode, events: list[tuple[float, int]]
) -> None:
    heart, now = Heartbeat(interval, timeout, mode, now=0), 0.0
    for pause, event in events:
        now += pause
        if event:
            (heart.heard if event == 1 else heart.ponged)(now)
        verdict = heart.beat(now)
        assert verdict.ask_at > now or verdict.action is Action.DEAD


@given(seconds, seconds, st.sampled_from([HeartbeatMode.AUTO, HeartbeatMode.NEVER]))
def test_who_never_answered_is_never_dead_unless_always(
    interval: float, timeout: float, mode: HeartbeatMode
) -> None:
    client = Client(Heartbeat(interval, timeout, mode, now=0))
    assert client.lives(until=10 * (interval + timeout))


class AnyLife(RuleBasedStateMachine):
    """A server and a client that do what they may, at any times, against the rules in words."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.pinged_at: float | None = None
        self.has_answered = False
        self.last_heard = 0.0

    @initialize(interval=seconds, timeout=seconds, mode=st.sampled_from(MODES))
    def begin(self, interval: float, timeout: float, mode: HeartbeatMode) -> None:
        self.heart = Heartbeat(interval, timeout, mode, now=0)
        self.ask_at = self.heart.beat(0).ask_at

    @rule(pause=st.floats(0, 300))
    def time_passes(self, pause: float) -> None:
        self.now += pause

    @rule()
    def the_time_to_ask_comes(self) -> None:
        self.now = max(self.now, self.ask_at)

    @rule()
    def a_frame_arrives(self) -> None:
        self.heart.heard(self.now)
        self.last_heard, self.pinged_at = self.now, None

    @rule()
    def a_pong_arrives(self) -> None:
        if self.pinged_at is not None:
            round_trip = self.now - self.pinged_at
            self.heart.ponged(self.now)
            assert self.heart.round_trip == round_trip
        else:
            self.heart.ponged(self.now)
        self.last_heard, self.pinged_at, self.has_answered = self.now, None, True

    @rule()
    def the_server_asks(self) -> None:
        was_late = self.now - self.ask_at > min(self.heart.interval, self.heart.timeout) / 2
        action, self.ask_at = self.heart.beat(self.now)
        if action is Action.DEAD:
            assert not was_late
            self.check_death()
        else:
            assert self.ask_at > self.now
            assert self.ask_at <= self.now + max(self.heart.interval, self.heart.timeout)
        if action is Action.PING:
            assert self.now >= self.last_heard + self.heart.interval
            self.pinged_at = self.now

    def check_death(self) -> None:
        assert self.heart.mode is not HeartbeatMode.NEVER
        assert self.has_answered or self.heart.mode is HeartbeatMode.ALWAYS
        assert self.pinged_at is not None, "nobody is dead who was not asked"
        assert self.now >= self.pinged_at + self.heart.timeout
        assert self.now >= self.last_heard + self.heart.interval + self.heart.timeout

    @invariant()
    def a_round_trip_is_not_negative(self) -> None:
        assert (self.heart.round_trip or 0.0) >= 0


TestAnyLife = AnyLife.TestCase
