"""The tree of errors is the one that its module draws."""

from __future__ import annotations

import inspect
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils.translation import gettext_lazy

from wsadapter import errors
from wsadapter.close_codes import ClosedBy, should_reconnect
from wsadapter.errors import (
    AsyncContextError,
    ConnectionClosed,
    ConnectionTimeout,
    EncodeError,
    EndpointError,
    Exhausted,
    Failure,
    Fatal,
    HandlerError,
    InvalidMessage,
    PeerError,
    ReadTimeout,
    ReceiveConflict,
    ReservedType,
    RetriesExhausted,
    StoreUnavailable,
    Transient,
    UnexpectedFrame,
    ViewError,
    WriteTimeout,
    WSAdapterError,
)
from wsadapter.wire.failures import FailureKind

CLASSES = {
    name: kind
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if kind.__module__ == errors.__name__
}


def drawn() -> dict[str, tuple[str | None, str | None]]:
    """Each name in the drawing: the error that it hangs on, and the builtin beside it."""
    found: dict[str, tuple[str | None, str | None]] = {}
    above: dict[int, str] = {}  # the last name at each indentation
    for line in (errors.__doc__ or "").splitlines():
        branch = re.match(r"([ │]+)[├└]── (\w+)(?: \((\w+)\))?(?: |$)", line)
        trunk = re.match(r"    (\w+Error)\b", line)
        if branch:
            indentation = len(branch[1])
            above[indentation + 4] = branch[2]
            found[branch[2]] = (above[indentation], branch[3])
        elif trunk:
            above = {4: trunk[1]}
            found[trunk[1]] = (None, None)
    return found


def test_the_drawing_shows_every_error() -> None:
    assert set(drawn()) == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_the_drawing_tells_the_bases(name: str) -> None:
    parent, builtin = drawn()[name]
    expected = [base for base in (parent, builtin) if base] or ["Exception"]
    assert [base.__name__ for base in CLASSES[name].__bases__] == expected


def test_the_drawing_has_its_twigs() -> None:
    assert drawn()["ReadTimeout"] == drawn()["WriteTimeout"] == ("ConnectionTimeout", None)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (EncodeError, TypeError),
        (ReservedType, ValueError),
        (AsyncContextError, RuntimeError),
        (StoreUnavailable, ConnectionError),
        (HandlerError, TypeError),
        (EndpointError, TypeError),
        (ViewError, TypeError),
        (ReceiveConflict, RuntimeError),
        (ConnectionClosed, ConnectionError),
        (ReadTimeout, TimeoutError),
        (WriteTimeout, TimeoutError),
    ],
)
def test_the_developers_errors_are_caught_by_either_name(
    error: type[Exception], builtin: type[Exception]
) -> None:
    assert issubclass(error, builtin)
    assert issubclass(error, WSAdapterError)


def test_the_browsers_mistakes_are_not_the_developers() -> None:
    assert not issubclass(PeerError, WSAdapterError)
    assert not issubclass(WSAdapterError, PeerError)


def test_a_mistake_of_the_browser_carries_what_it_is_answered_with() -> None:
    error = InvalidMessage("invalid", "Expected `str`.", path="$.text", id=7)
    assert str(error) == error.message == "Expected `str`."
    assert (error.code, error.path, error.id) == ("invalid", "$.text", 7)


def test_a_mistake_of_the_browser_may_concern_no_field_and_no_request() -> None:
    error = InvalidMessage("invalid_json", "The message is not valid JSON.")
    assert (error.path, error.id) == (None, None)


# Failures: what a client is told to do


FAILURES = [
    (Transient, "transient", 3004),
    (Exhausted, "exhausted", 3013),
    (RetriesExhausted, "exhausted", 3013),
    (Fatal, "fatal", 3501),
]


@pytest.mark.parametrize(("failure", "kind", "close_code"), FAILURES)
def test_a_failure_has_the_codes_of_its_kind(
    failure: type[Failure], kind: str, close_code: int
) -> None:
    error = failure("The warehouse is busy.")
    assert (error.kind, error.code, error.close_code) == (FailureKind(kind), kind, close_code)
    assert str(error) == error.message == "The warehouse is busy."
    assert error.retry_after is None
    assert should_reconnect(close_code) is (failure is not Fatal)


@pytest.mark.parametrize("failure", [Transient, Exhausted, Fatal])
def test_a_failure_without_a_message_has_a_sentence(failure: type[Failure]) -> None:
    assert str(failure()) == failure().message == failure.sentence
    assert failure.sentence.endswith(".")
    assert failure("").message == failure(None).message == failure.sentence  # type: ignore[arg-type]


@pytest.mark.parametrize("failure", [Transient, Exhausted, Fatal])
def test_a_failure_may_have_codes_of_its_own(failure: type[Failure]) -> None:
    error = failure("Closed.", code="closed", close_code=4001, retry_after=5)
    assert (error.code, error.close_code, error.retry_after) == ("closed", 4001, 5.0)


@pytest.mark.parametrize("code", [999, 1004, 1005, 1006, 1015, 2999, 5000])
def test_a_failure_closes_with_no_code_that_may_not_be_sent(code: int) -> None:
    with pytest.raises(ValueError, match=f"{code} is no close code that may be sent"):
        Fatal(close_code=code)


def test_the_message_of_a_failure_is_a_text_whatever_it_was_made_of() -> None:
    for given in (gettext_lazy("Closed."), ValueError("Closed.")):
        message = Fatal(given).message  # type: ignore[arg-type]
        assert (type(message), message) == (str, "Closed.")


@pytest.mark.parametrize("seconds", [2, 2.0, Decimal(2), "2"], ids=repr)
def test_the_time_to_wait_is_a_number(seconds: Any) -> None:
    assert repr(Exhausted(retry_after=seconds).retry_after) == "2.0"


@pytest.mark.parametrize("seconds", ["soon", timedelta(seconds=2)], ids=repr)
def test_what_is_no_number_is_refused_where_the_failure_is_made(seconds: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Exhausted(retry_after=seconds)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1000, None),
        (1001, "transient"),
        (1006, "transient"),
        (1009, "fatal"),
        (3004, "transient"),
        (3013, "exhausted"),
        (3501, "fatal"),
        (4001, "transient"),
        (4501, "fatal"),
    ],
)
def test_the_end_of_a_connection_has_a_kind(code: int, kind: str | None) -> None:
    assert ConnectionClosed(code, "", ClosedBy.SERVER).kind == kind


@pytest.mark.parametrize("frame", ["text", b"binary"])
def test_an_unexpected_frame_is_kept(frame: str | bytes) -> None:
    error = UnexpectedFrame("Expected another one.", frame)
    assert (str(error), error.frame) == ("Expected another one.", frame)


@pytest.mark.parametrize("error", [InvalidMessage, UnexpectedFrame])
def test_the_browsers_mistakes_are_caught_together(error: type[Exception]) -> None:
    assert issubclass(error, PeerError)


@pytest.mark.parametrize(
    ("reason", "by", "sentence"),
    [
        ("bye", ClosedBy.CLIENT, "The connection was closed by the client with code 4000 (bye)."),
        ("", ClosedBy.SERVER, "The connection was closed by the server with code 4000."),
        ("", ClosedBy.NETWORK, "The connection was closed by the network with code 4000."),
    ],
    ids=["client", "server", "network"],
)
def test_the_end_of_a_connection_says_who_and_why(reason: str, by: ClosedBy, sentence: str) -> None:
    error = ConnectionClosed(4000, reason, by)
    assert str(error) == sentence
    assert (error.code, error.reason, error.closed_by) == (4000, reason, by)


def test_the_timeouts_of_a_connection_are_caught_together() -> None:
    assert issubclass(ReadTimeout, ConnectionTimeout)
    assert issubclass(WriteTimeout, ConnectionTimeout)


def test_a_frame_that_did_not_leave_in_time_was_taken_back_unless_it_says_otherwise() -> None:
    assert WriteTimeout("too late").withdrawn
    assert not WriteTimeout("too late", withdrawn=False).withdrawn


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_nobody_is_told_to_wait_for_what_is_no_time(seconds: float) -> None:
    with pytest.raises(ValueError, match="no number of seconds to wait"):
        errors.Exhausted(retry_after=seconds)
