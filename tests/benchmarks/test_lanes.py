from __future__ import annotations

import pytest

from benchmarks.expectations import WrongBytes
from benchmarks.lanes import check, in_lanes, message, overtaken


def texts(*numbers_and_priorities: tuple[int, int]) -> list[bytes]:
    return [message(number, priority).encode() for number, priority in numbers_and_priorities]


PUBLISHED = texts((0, 3), (1, 2), (2, 0), (3, 2), (4, 3))


@pytest.mark.parametrize(
    "received",
    [PUBLISHED, texts((2, 0), (1, 2), (3, 2), (0, 3), (4, 3))],
    ids=["as published", "urgent first"],
)
def test_lanes_may_overtake_one_another(received: list[bytes]) -> None:
    check(received, in_lanes(PUBLISHED))


@pytest.mark.parametrize(
    ("received", "wrong"),
    [
        (PUBLISHED[:-1], "lane 3 of a connection lost 1 messages and has 0 twice"),
        ([*PUBLISHED, PUBLISHED[1]], "lane 2 of a connection lost 0 messages and has 1 twice"),
        (texts((0, 3), (3, 2), (2, 0), (1, 2), (4, 3)), "lane 2 .* out of order"),
    ],
    ids=["lost", "doubled", "reordered"],
)
def test_within_a_lane_everything_is_noticed(received: list[bytes], wrong: str) -> None:
    with pytest.raises(WrongBytes, match=wrong):
        check(received, in_lanes(PUBLISHED))


def test_who_was_overtaken_is_counted() -> None:
    assert overtaken(PUBLISHED) == 0
    assert overtaken(texts((2, 0), (1, 2), (3, 2), (0, 3), (4, 3))) == 2
