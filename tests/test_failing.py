"""What an exception means: as it says itself, as the project declares, or as everybody knows."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from channels.exceptions import StopConsumer
from django.db import DatabaseError, InterfaceError, OperationalError

from wsadapter.close_codes import ClosedBy
from wsadapter.errors import (
    ConnectionClosed,
    Exhausted,
    Failure,
    Fatal,
    InvalidMessage,
    RetriesExhausted,
    StoreUnavailable,
    Transient,
    UnexpectedFrame,
)
from wsadapter.failing import Meaning, failure_of

SECRET = "password=hunter2"


class QuotaError(Exception):
    def __init__(self, seconds: float = 3.0) -> None:
        super().__init__(SECRET)
        self.seconds = seconds


class DailyQuotaError(QuotaError):
    """Means what its base does, unless it is declared itself."""


def quota(error: QuotaError) -> Failure:
    return Exhausted("Your quota is used up.", retry_after=error.seconds)


# By itself


@pytest.mark.parametrize("kind", [Transient, Exhausted, RetriesExhausted, Fatal])
def test_a_failure_means_itself(kind: type[Failure]) -> None:
    error = kind("as it says")
    assert failure_of(error, {}) is error
    assert failure_of(error, {Exception: Fatal, kind: Fatal}) is error


@pytest.mark.parametrize("kind", [StoreUnavailable, OperationalError, InterfaceError])
def test_that_a_server_of_ours_is_away_is_transient(kind: type[Exception]) -> None:
    failure = failure_of(kind(SECRET), {})
    assert type(failure) is Transient
    assert failure.message == Transient.sentence


@pytest.mark.parametrize(
    "error",
    [
        LookupError(),
        DatabaseError(),
        ConnectionError(),
        TimeoutError(),
        ConnectionClosed(1000, "", ClosedBy.CLIENT),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_not_declared_means_nothing(error: Exception) -> None:
    assert failure_of(error, {}) is None
    assert failure_of(error, {QuotaError: Transient}) is None


# As the project declares


@pytest.mark.parametrize("kind", [Transient, Exhausted, Fatal])
def test_a_class_is_made_without_the_text_of_the_error(kind: type[Failure]) -> None:
    failure = failure_of(QuotaError(), {QuotaError: kind})
    assert type(failure) is kind
    assert failure.message == kind.sentence


def test_a_function_makes_of_the_error_what_it_likes() -> None:
    failure = failure_of(QuotaError(7.5), {QuotaError: quota})
    assert isinstance(failure, Exhausted)
    assert (failure.message, failure.retry_after) == ("Your quota is used up.", 7.5)


def test_a_subclass_means_what_its_nearest_base_does() -> None:
    declared: dict[type[BaseException], Meaning] = {Exception: Fatal, QuotaError: quota}
    assert isinstance(failure_of(DailyQuotaError(), declared), Exhausted)
    assert isinstance(
        failure_of(DailyQuotaError(), {**declared, DailyQuotaError: Transient}), Transient
    )
    assert isinstance(failure_of(LookupError(), declared), Fatal)


@pytest.mark.parametrize("base", [OperationalError, DatabaseError, Exception])
def test_what_is_declared_stands_over_what_everybody_knows(base: type[Exception]) -> None:
    assert isinstance(failure_of(OperationalError(), {base: Fatal}), Fatal)


@pytest.mark.parametrize(
    "error",
    [InvalidMessage("invalid", "Not that."), UnexpectedFrame("Not that.", b""), StopConsumer()],
    ids=lambda error: type(error).__name__,
)
def test_a_mistake_of_the_client_and_a_consumer_that_stops_are_no_failures(
    error: Exception,
) -> None:
    """They have their own treatment, which a declaration for everything does not take away."""
    assert failure_of(error, {Exception: Transient}) is None


# Declarations that turn out to be wrong


class Unmakeable(Exhausted):
    def __init__(self, seconds: float) -> None:
        super().__init__("Come back later.", retry_after=seconds)


def raising(error: QuotaError) -> Failure:
    raise LookupError("in the function")


WRONG: dict[str, Any] = {
    "a function that raises": raising,
    "a function that returns None": lambda error: None,
    "a function that returns a class": lambda error: Transient,
    "a function that returns another exception": lambda error: ValueError("no failure"),
    "a function that takes nothing": lambda: Transient(),
    "a class that takes more": Unmakeable,
}


@pytest.mark.parametrize("meaning", WRONG.values(), ids=WRONG)
def test_an_error_whose_meaning_cannot_be_had_means_nothing_and_is_logged(
    meaning: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert failure_of(QuotaError(), {QuotaError: meaning}) is None
    [record] = caplog.records
    assert (record.name, record.levelno) == ("wsadapter.handlers", logging.ERROR)
    assert "QuotaError" in record.getMessage()


# Groups, as task groups raise them


def test_of_a_group_the_worst_counts() -> None:
    transient, exhausted, fatal = Transient(), Exhausted(), Fatal()
    assert failure_of(ExceptionGroup("", [transient, exhausted]), {}) is exhausted
    assert failure_of(ExceptionGroup("", [exhausted, fatal, transient]), {}) is fatal
    assert failure_of(ExceptionGroup("", [transient]), {}) is transient


def test_of_a_group_in_a_group_as_well() -> None:
    fatal = Fatal()
    inner = ExceptionGroup("", [Transient(), fatal])
    assert failure_of(ExceptionGroup("", [Exhausted(), inner]), {}) is fatal


def test_in_a_group_everything_has_to_mean_something() -> None:
    assert failure_of(ExceptionGroup("", [Fatal(), LookupError()]), {}) is None
    assert failure_of(ExceptionGroup("", [LookupError(), Transient()]), {}) is None


def test_a_declaration_holds_within_a_group() -> None:
    group = ExceptionGroup("", [QuotaError(), OperationalError()])
    failure = failure_of(group, {QuotaError: quota})
    assert isinstance(failure, Exhausted)


def test_who_is_cancelled_may_be_declared_and_means_nothing_otherwise() -> None:
    group = BaseExceptionGroup("", [KeyboardInterrupt()])
    assert failure_of(group, {}) is None
    assert isinstance(failure_of(group, {BaseException: Fatal}), Fatal)
