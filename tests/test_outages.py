"""An outage is told once and its end once, whoever notices, however often."""

from __future__ import annotations

import pytest

from wsadapter import outages


def test_whoever_notices_it_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    for error in (ConnectionError("a secret"), TimeoutError()):
        outages.begins("Redis at one", error)
    outages.begins("Redis at two", TimeoutError())
    for _ in range(2):
        outages.ends("Redis at one")
    outages.ends("Redis at two")
    outages.ends("Redis at three")
    told = [record.getMessage().split(".")[0] for record in caplog.records]
    assert told == [
        "Redis at one is away (ConnectionError)",
        "Redis at two is away (TimeoutError)",
        "Redis at one is back",
        "Redis at two is back",
    ]


def test_a_second_outage_is_told_again(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        outages.begins("Redis", TimeoutError())
        outages.ends("Redis")
    assert len(caplog.records) == 4
