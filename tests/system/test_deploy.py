"""A deploy as 2 000 clients see it: one of two processes is replaced, and all go on."""

from __future__ import annotations

import pytest

from benchmarks.deploy import Outcome, deploy
from tests.dependencies import redis_executable
from wsadapter.conf import settings

pytestmark = pytest.mark.xdist_group("deploy")  # it is done once

CLIENTS = 2000
#: By which anything may be late here, on top of what the slowest message was.
LATE_SECONDS = 0.5


def late_seconds(outcome: Outcome) -> float:
    return LATE_SECONDS + outcome.slowest_seconds


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    redis_executable()
    return deploy(drain_seconds=settings.drain_seconds, clients=CLIENTS)


def test_every_client_is_back_and_none_gave_up(outcome: Outcome) -> None:
    assert len(outcome.moved) == CLIENTS / 2
    assert [client.failure for client in outcome.clients] == [None] * CLIENTS
    assert outcome.final_count == CLIENTS


def test_those_on_the_other_process_noticed_nothing(outcome: Outcome) -> None:
    assert len(outcome.stayed) == CLIENTS / 2
    assert sum(client.missed for client in outcome.stayed) == 0


def test_nobody_hears_anything_twice(outcome: Outcome) -> None:
    assert sum(client.repeated for client in outcome.clients) == 0


def test_they_come_back_as_evenly_as_the_spread_promises(outcome: Outcome) -> None:
    """A thousand of them, at 125 a second: at most 175 in any one, were nothing ever late."""
    assert outcome.peak <= outcome.promised_peak(late_seconds(outcome))
    assert outcome.peak <= len(outcome.moved) / 2, "all come at once without a drain"
    assert outcome.back_seconds > outcome.drain_seconds / 2


def test_the_count_was_right_throughout(outcome: Outcome) -> None:
    assert len(outcome.counts) > outcome.drain_seconds
    assert outcome.count_error(late_seconds(outcome)) == 0


def test_nobody_is_announced_as_gone_who_is_back_in_time(outcome: Outcome) -> None:
    """Away for half a second, mostly. A machine that is too busy may keep them for longer."""
    in_time = settings.grace_seconds - late_seconds(outcome)
    gone = [outcome.clients[number].away_seconds() for number in outcome.announced_gone]
    assert [seconds for seconds in gone if seconds < in_time] == []
