"""The number alone tells a client whether to come back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsadapter import CloseCode, should_reconnect
from wsadapter.close_codes import NORMAL_CODES

COMES_BACK = {
    CloseCode.GOING_AWAY,
    CloseCode.NO_STATUS,
    CloseCode.ABNORMAL,
    CloseCode.INTERNAL_ERROR,
    CloseCode.SERVICE_RESTART,
    CloseCode.SHUTDOWN,
    CloseCode.SERVER_ERROR,
    CloseCode.CREDENTIALS_EXPIRED,
    CloseCode.SLOW,
    CloseCode.INSUFFICIENT_STATE,
    CloseCode.NO_PONG,
    CloseCode.TOO_MANY,
}


@pytest.mark.parametrize("code", CloseCode)
def test_each_of_our_codes_tells_whether_to_come_back(code: CloseCode) -> None:
    assert should_reconnect(code) is (code in COMES_BACK)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (1000, False),
        (1001, True),
        (1002, True),
        (1006, True),
        (1008, True),
        (1009, False),
        (1011, True),
        (1012, True),
        (1013, True),
        (2999, True),
        (3000, True),
        (3499, True),
        (3500, False),
        (3999, False),
        (4000, True),
        (4499, True),
        (4500, False),
        (4999, False),
    ],
)
def test_the_edges_of_the_ranges(code: int, expected: bool) -> None:
    assert should_reconnect(code) is expected


@given(st.integers(3000, 4999))
def test_applications_codes_follow_the_same_ranges(code: int) -> None:
    assert should_reconnect(code) is (code in range(3000, 3500) or code in range(4000, 4500))


def test_the_numbers_are_a_public_contract() -> None:
    assert {code.name: int(code) for code in CloseCode} == {
        "NORMAL": 1000,
        "GOING_AWAY": 1001,
        "NO_STATUS": 1005,
        "ABNORMAL": 1006,
        "INTERNAL_ERROR": 1011,
        "SERVICE_RESTART": 1012,
        "SHUTDOWN": 3001,
        "SERVER_ERROR": 3004,
        "CREDENTIALS_EXPIRED": 3005,
        "SLOW": 3008,
        "INSUFFICIENT_STATE": 3010,
        "NO_PONG": 3012,
        "TOO_MANY": 3013,
        "UNAUTHENTICATED": 3500,
        "BAD_REQUEST": 3501,
        "FORCED_OUT": 3503,
        "CONNECTION_LIMIT": 3504,
        "NOT_PERMITTED": 3507,
    }


def test_an_end_that_was_cut_is_not_normal() -> None:
    assert CloseCode.ABNORMAL not in NORMAL_CODES
    assert CloseCode.NO_PONG not in NORMAL_CODES
    assert {1000, 1001} < NORMAL_CODES
