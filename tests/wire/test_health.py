"""A connection is well until it passes a bound of its policy; then it is said which."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsadapter.close_codes import CloseCode
from wsadapter.wire.health import MIN_MESSAGES, Ailment, HealthCheck, HealthPolicy, Vitals

WELL = Vitals(silence_seconds=0, messages=0, errors=0, queued_bytes=0, tasks=0)


def examine(policy: HealthPolicy, **vitals: float) -> Ailment | None:
    """A first look at a connection that is well but for what is given."""
    return HealthCheck(policy).examine(WELL._replace(**vitals))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "allowed", "too_much", "ailment"),
    [
        (
            HealthPolicy(max_silence_seconds=60),
            {"silence_seconds": 60},
            {"silence_seconds": 60.1},
            Ailment(CloseCode.NO_PONG, "silent for 61 s, 60 are allowed"),
        ),
        (
            HealthPolicy(max_silence_seconds=0.5),
            {"silence_seconds": 0.5},
            {"silence_seconds": 0.75},
            Ailment(CloseCode.NO_PONG, "silent for 1 s, 0.5 are allowed"),
        ),
        (
            HealthPolicy(max_error_rate=0.5),
            {"messages": 12, "errors": 6},
            {"messages": 12, "errors": 7},
            Ailment(CloseCode.SERVER_ERROR, "7 of 12 messages failed, 50 % are allowed"),
        ),
        (
            HealthPolicy(max_queued_bytes=1000),
            {"queued_bytes": 1000},
            {"queued_bytes": 1001},
            Ailment(CloseCode.SLOW, "1001 bytes wait to be sent, 1000 are allowed"),
        ),
        (
            HealthPolicy(max_tasks=8),
            {"tasks": 8},
            {"tasks": 9},
            Ailment(CloseCode.TOO_MANY, "9 tasks at once, 8 are allowed"),
        ),
    ],
    ids=["silence", "a-short-silence", "errors", "queue", "tasks"],
)
def test_a_bound_may_be_reached_and_not_passed(
    policy: HealthPolicy, allowed: Any, too_much: Any, ailment: Ailment
) -> None:
    assert examine(policy, **allowed) is None
    assert examine(policy, **too_much) == ailment
    assert examine(HealthPolicy(), **too_much) is None, "what no bound is set for is not looked at"


def test_the_first_thing_that_is_wrong_is_said() -> None:
    policy = HealthPolicy(
        max_silence_seconds=1, max_error_rate=0.1, max_queued_bytes=1, max_tasks=1
    )
    ill = Vitals(silence_seconds=2, messages=10, errors=10, queued_bytes=2, tasks=2)
    codes = []
    for field in ("silence_seconds", "errors", "queued_bytes", "tasks"):
        found = HealthCheck(policy).examine(ill)
        assert found is not None
        codes.append(found.code)
        ill = ill._replace(**{field: 0})  # type: ignore[arg-type]
    assert codes == [3012, 3004, 3008, 3013]
    assert HealthCheck(policy).examine(ill) is None


# Errors are counted in windows


def test_few_messages_are_no_rate() -> None:
    policy = HealthPolicy(max_error_rate=0.1)
    assert examine(policy, messages=MIN_MESSAGES - 1, errors=MIN_MESSAGES - 1) is None
    assert examine(policy, messages=MIN_MESSAGES, errors=MIN_MESSAGES)


def test_a_window_goes_on_until_it_has_enough_messages() -> None:
    check = HealthCheck(HealthPolicy(max_error_rate=0.5))
    assert check.examine(WELL._replace(messages=4, errors=4)) is None
    assert check.examine(WELL._replace(messages=8, errors=6)) is None
    found = check.examine(WELL._replace(messages=11, errors=6))
    assert found == Ailment(CloseCode.SERVER_ERROR, "6 of 11 messages failed, 50 % are allowed")


def test_a_window_that_was_judged_is_over() -> None:
    check = HealthCheck(HealthPolicy(max_error_rate=0.5))
    assert check.examine(WELL._replace(messages=1000, errors=0)) is None
    assert check.examine(WELL._replace(messages=1009, errors=9)) is None
    found = check.examine(WELL._replace(messages=1010, errors=10))
    assert found is not None, "a good past does not excuse it"
    assert found.reason.startswith("10 of 10 messages failed")


def test_old_errors_are_forgiven() -> None:
    check = HealthCheck(HealthPolicy(max_error_rate=0.5))
    assert check.examine(WELL._replace(messages=10, errors=5)) is None
    assert check.examine(WELL._replace(messages=20, errors=10)) is None
    assert check.examine(WELL._replace(messages=30, errors=10)) is None


def test_who_may_always_fail_is_never_ill_of_it() -> None:
    assert examine(HealthPolicy(max_error_rate=1), messages=100, errors=100) is None


steps = st.lists(st.tuples(st.integers(0, 30), st.floats(0, 1)))


@given(steps, st.floats(0.01, 1))
def test_an_error_rate_is_said_only_of_a_window_that_has_it(
    steps: list[tuple[int, float]], allowed: float
) -> None:
    check, messages, errors = HealthCheck(HealthPolicy(max_error_rate=allowed)), 0, 0
    window_messages = window_errors = 0
    for new, failing in steps:
        failed = round(new * failing)
        messages, errors = messages + new, errors + failed
        window_messages, window_errors = window_messages + new, window_errors + failed
        found = check.examine(WELL._replace(messages=messages, errors=errors))
        judged = window_messages >= MIN_MESSAGES
        assert bool(found) == (judged and window_errors / window_messages > allowed)
        if judged:
            window_messages = window_errors = 0


# Policies


@pytest.mark.parametrize("field", list(HealthPolicy.__dataclass_fields__))
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_a_bound_that_makes_no_sense_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{field} is {value}; give a number above 0"):
        HealthPolicy(**{field: value})  # type: ignore[arg-type]


def test_an_error_rate_is_a_part_of_one() -> None:
    assert HealthPolicy(max_error_rate=1).max_error_rate == 1
    with pytest.raises(ValueError, match=r"^max_error_rate is 50; give a part of all messages"):
        HealthPolicy(max_error_rate=50)


def test_a_policy_is_a_value() -> None:
    assert HealthPolicy(max_tasks=3) == HealthPolicy(max_tasks=3, check_interval_seconds=5)
    with pytest.raises(AttributeError):
        HealthPolicy().max_tasks = 3  # type: ignore[misc]


A_YEAR_SECONDS = 366 * 86400.0
counts = st.integers(0, 2**63)


@given(
    st.builds(
        HealthPolicy,
        max_silence_seconds=st.none() | st.floats(1e-9, A_YEAR_SECONDS),
        max_error_rate=st.none() | st.floats(1e-9, 1),
        max_queued_bytes=st.none() | st.integers(1, 2**63),
        max_tasks=st.none() | st.integers(1, 2**63),
    ),
    st.builds(Vitals, st.floats(0, A_YEAR_SECONDS), counts, counts, counts, counts),
)
def test_every_reason_fits_a_close_frame(policy: HealthPolicy, vitals: Vitals) -> None:
    ailment = HealthCheck(policy).examine(vitals)
    if ailment is not None:
        assert 0 < len(ailment.reason.encode()) <= 123
