"""A project's exceptions, as failures that tell a client what to do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from channels.exceptions import StopConsumer
from django.db import InterfaceError, OperationalError

from wsadapter.errors import Failure, PeerError, RetriesExhausted, StoreUnavailable, Transient
from wsadapter.tasks import causes
from wsadapter.wire.failures import FailureKind
from wsadapter.wire.masking import one_line

logger = logging.getLogger("wsadapter.handlers")

#: What an exception means: a class of failures, or a function from the exception to a failure.
Meaning: TypeAlias = type[Failure] | Callable[[Any], Failure]
Meanings: TypeAlias = Mapping[type[BaseException], Meaning]

#: What nobody need declare: the other side of a connection of ours is away.
_KNOWN: Meanings = {
    StoreUnavailable: Transient,
    OperationalError: Transient,
    InterfaceError: Transient,
}

_BY_SEVERITY = list(FailureKind)


def failure_of(error: BaseException, declared: Meanings) -> Failure | None:
    """What an exception means to the client, or None where it means nothing to it.

    Of a group of them the worst counts, and all of them have to mean something.

    Args:
        declared: what the project's own exceptions mean; a subclass means what its nearest
            base does.
    """
    meant = [_meaning(cause, declared) for cause in causes(error)]
    known = [failure for failure in meant if failure is not None]
    return max(known, key=_severity) if len(known) == len(meant) else None


def _meaning(error: BaseException, declared: Meanings) -> Failure | None:
    if isinstance(error, Failure):
        return error
    if isinstance(error, PeerError | StopConsumer):
        return None  # what it means is settled, whatever is declared about its bases
    for meanings in (declared, _KNOWN):
        for kind in type(error).__mro__:
            if kind in meanings:
                return _made(meanings[kind], error)
    return None


def _made(meaning: Meaning, error: BaseException) -> Failure | None:
    try:
        # A class does not get the text of the error, which may tell too much.
        failure: object = meaning() if isinstance(meaning, type) else meaning(error)
    except Exception:
        logger.exception("What %r means could not be found out.", error)
        return None
    if isinstance(failure, Failure):
        return failure
    logger.error("What %r means has to be a Failure, and is %r.", error, failure)
    return None


def _severity(failure: Failure) -> int:
    return _BY_SEVERITY.index(failure.kind)


def log_failed(
    error: BaseException, failure: Failure | None, line: str, *arguments: object
) -> None:
    """One line of the log: with a traceback where the error was not meant for a client.

    Args:
        failure: what it means.
        line: with places for the arguments, and a last one for its end.
    """
    # Of a failure that was met again and again, what it was the last time.
    met = (isinstance(error, RetriesExhausted) and error.__cause__) or error
    end = "." if failure is None else f": {one_line(failure.message)}"
    logger.log(
        logging.ERROR if failure is None else logging.WARNING,
        line,
        *arguments,
        end,
        exc_info=None if isinstance(met, Failure) else error,
    )
