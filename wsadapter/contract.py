"""What the signature of a stream's function promises: what it reads, and what it sends."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from typing import Any

from wsadapter.connection import Connection
from wsadapter.errors import EndpointError
from wsadapter.parameters import annotation_of

_ASYNC = (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_STREAMS = (AsyncIterator, AsyncIterable, AsyncGenerator)


class Contract:
    """What is read and sent, by the annotations of a function.

    Args:
        function: an async function, or one that makes an async generator.

    Attributes:
        incoming: the name of the parameter that is what the client sends, if there is one.
        reads: the type of each message of that.
        connection: the name of the parameter that is the connection, if there is one.
        streams: whether the function sends a stream, or one result at the end.
        sends: the type of each message that it sends, or of its result; None where it has none.

    Raises:
        EndpointError: there is no stream in it, or an annotation that cannot be resolved.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._name = getattr(function, "__qualname__", repr(function))
        if not any(is_kind(function) for is_kind in _ASYNC):
            raise EndpointError(f"The stream {self._name} must be declared with async def.")
        signature = inspect.signature(function)
        self.incoming: str | None = None
        self.reads: Any = None
        self.connection: str | None = None
        for parameter in signature.parameters.values():
            self._note(parameter)
        self.streams, self.sends = self._result(signature.return_annotation)
        if not (self.streams or self.incoming):
            raise EndpointError(
                f"The stream {self._name} reads no stream and sends none. Declare a parameter "
                "(incoming: AsyncIterator[Message]), the result (-> AsyncIterator[Message]) or "
                "both; a function that has neither is an endpoint (@websocket)."
            )

    def _note(self, parameter: inspect.Parameter) -> None:
        if parameter.name == "self":
            raise EndpointError(
                f"The stream {self._name} is a method; a stream is a function, which is called "
                "with nothing but what it declares."
            )
        annotation = self._resolved(parameter.annotation, f"the parameter {parameter.name}")
        if annotation is Any and parameter.name == "incoming":
            annotation = AsyncIterator  # of anything
        is_given = _is_stream(annotation) or _is_connection(parameter, annotation)
        if is_given and parameter.kind not in _BY_NAME:
            raise EndpointError(
                f"The stream {self._name} takes {parameter.name} by position; its arguments are "
                "given by their names."
            )
        if _is_stream(annotation):
            if self.incoming is not None:
                raise EndpointError(
                    f"The stream {self._name} has two streams to read, {self.incoming} and "
                    f"{parameter.name}; one connection is one stream each way."
                )
            self.incoming, self.reads = parameter.name, _item(annotation)
        elif is_given:
            self.connection = parameter.name

    def _result(self, annotation: Any) -> tuple[bool, Any]:
        resolved = self._resolved(annotation, "the result", is_known=True)
        if _is_stream(resolved):
            return True, _item(resolved)
        if inspect.isasyncgenfunction(self._function):
            return True, Any
        return False, None if resolved is type(None) else resolved

    def _resolved(self, annotation: Any, what: str, *, is_known: bool = False) -> Any:
        """What an annotation stands for; ``is_known``: it has to be resolved, whatever it is."""
        if annotation is inspect.Parameter.empty:
            return Any
        try:
            return annotation_of(self._function, annotation)
        except (NameError, TypeError, AttributeError) as error:
            if not (is_known or _NAMES_A_STREAM.match(str(annotation))):
                return Any  # such as a user's class, imported for the type checker alone
            raise EndpointError(
                f"The annotation of {what} of the stream {self._name} cannot be resolved: {error}. "
                "Define or import its type at module level."
            ) from error


_NAMES_A_STREAM = re.compile(r"(\w+\.)*Async(Iterator|Iterable|Generator)\b")


def _is_stream(annotation: Any) -> bool:
    if typing.get_origin(annotation) is typing.Annotated:
        return _is_stream(typing.get_args(annotation)[0])
    return annotation in _STREAMS or typing.get_origin(annotation) in _STREAMS


def _is_connection(parameter: inspect.Parameter, annotation: Any) -> bool:
    return annotation is Connection or parameter.name == "connection"


def _item(annotation: Any) -> Any:
    """The type of what a stream is made of."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _item(typing.get_args(annotation)[0])
    return next(iter(typing.get_args(annotation)), Any)
