"""One table says what a client should do about a failure, by its error code or its close code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsadapter.close_codes import CloseCode, check_code, should_reconnect
from wsadapter.wire import failures
from wsadapter.wire.failures import (
    TREATMENTS,
    ErrorCode,
    FailureKind,
    Treatment,
    kind_of,
    kind_of_close,
)

TRANSIENT, EXHAUSTED, FATAL = FailureKind.TRANSIENT, FailureKind.EXHAUSTED, FailureKind.FATAL

every_close_code = range(1000, 5000)


def test_the_names_are_a_public_contract() -> None:
    assert [str(kind) for kind in FailureKind] == ["transient", "exhausted", "fatal"]
    assert {str(code) for code in ErrorCode} == {
        "transient",
        "exhausted",
        "fatal",
        "invalid_json",
        "invalid",
        "unknown_type",
        "unsupported",
        "rate_limited",
        "internal_error",
    }


def test_each_kind_has_its_codes() -> None:
    assert {
        TRANSIENT: Treatment(ErrorCode.TRANSIENT, CloseCode.SERVER_ERROR),
        EXHAUSTED: Treatment(ErrorCode.EXHAUSTED, CloseCode.TOO_MANY),
        FATAL: Treatment(ErrorCode.FATAL, CloseCode.BAD_REQUEST),
    } == TREATMENTS
    assert [int(TREATMENTS[kind].close_code) for kind in FailureKind] == [3004, 3013, 3501]


@pytest.mark.parametrize("kind", FailureKind)
def test_who_receives_reads_what_was_sent(kind: FailureKind) -> None:
    error_code, close_code = TREATMENTS[kind]
    assert kind_of(error_code) is kind
    assert kind_of_close(close_code) is kind
    assert should_reconnect(close_code) is (kind is not FATAL)
    check_code(close_code)


@pytest.mark.parametrize("kind", FailureKind)
def test_the_table_in_the_text_is_the_table(kind: FailureKind) -> None:
    rows = [row for row in (failures.__doc__ or "").splitlines() if row.startswith(f"| {kind} ")]
    assert len(rows) == 1
    assert f"`{TREATMENTS[kind].error_code}`" in rows[0]
    assert f"| {int(TREATMENTS[kind].close_code)}, " in rows[0]
    assert ("do not come back" in rows[0]) is not should_reconnect(TREATMENTS[kind].close_code)


# By the code of a ws:error

KINDS = {
    ErrorCode.TRANSIENT: TRANSIENT,
    ErrorCode.EXHAUSTED: EXHAUSTED,
    ErrorCode.FATAL: FATAL,
    ErrorCode.INVALID_JSON: FATAL,
    ErrorCode.INVALID: FATAL,
    ErrorCode.UNKNOWN_TYPE: FATAL,
    ErrorCode.UNSUPPORTED: FATAL,
    ErrorCode.RATE_LIMITED: EXHAUSTED,
    ErrorCode.INTERNAL_ERROR: TRANSIENT,
}


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_code_has_its_kind(code: ErrorCode) -> None:
    assert kind_of(code) is KINDS[code]
    assert kind_of(str(code)) is KINDS[code], "as it comes from the wire"


near_misses = st.sampled_from(["TRANSIENT", " transient", "transient ", "timeout", ""])


@given(near_misses | st.text().filter(lambda code: code not in set(ErrorCode)))
def test_a_code_that_is_not_known_is_fatal(code: str) -> None:
    assert kind_of(code) is FATAL


# By a close code


def test_only_a_normal_end_is_no_failure() -> None:
    assert [code for code in every_close_code if kind_of_close(code) is None] == [1000]


def test_only_too_many_asks_to_back_off() -> None:
    exhausted = [code for code in every_close_code if kind_of_close(code) is EXHAUSTED]
    assert exhausted == [CloseCode.TOO_MANY]


def test_it_is_fatal_exactly_where_a_client_does_not_come_back() -> None:
    for code in every_close_code:
        fatal_or_done = kind_of_close(code) in (FATAL, None)
        assert fatal_or_done is not should_reconnect(code), code


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1000, None),
        (1001, TRANSIENT),
        (1005, TRANSIENT),
        (1006, TRANSIENT),
        (1009, FATAL),
        (1011, TRANSIENT),
        (1012, TRANSIENT),
        (3001, TRANSIENT),
        (3004, TRANSIENT),
        (3012, TRANSIENT),
        (3013, EXHAUSTED),
        (3499, TRANSIENT),
        (3500, FATAL),
        (3501, FATAL),
        (3999, FATAL),
        (4000, TRANSIENT),
        (4499, TRANSIENT),
        (4500, FATAL),
        (4999, FATAL),
    ],
)
def test_the_edges_of_the_ranges(code: int, kind: FailureKind | None) -> None:
    assert kind_of_close(code) is kind


@pytest.mark.parametrize("code", CloseCode)
def test_a_number_says_as_much_as_its_name(code: CloseCode) -> None:
    assert kind_of_close(int(code)) is kind_of_close(code)
