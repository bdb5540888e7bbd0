"""What an endpoint's function is called with: from the route, the scope and the query string."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

from wsadapter.errors import EndpointError, InvalidMessage
from wsadapter.wire.conversion import text_converter
from wsadapter.wire.failures import ErrorCode
from wsadapter.wire.masking import is_secret

Scope = Mapping[str, Any]
Convert = Callable[[Sequence[str]], Any]

#: Keys that servers and routers fill in, each in its own way: whoever wants them takes ``scope``.
#: A query parameter may have these names. (The ASGI specification, HTTP & WebSocket 2.5.)
_NOT_FOR_FUNCTIONS = frozenset(
    {
        *("type", "asgi", "http_version", "scheme", "method", "path", "raw_path", "query_string"),
        *("root_path", "headers", "client", "server", "subprotocols", "state", "extensions"),
        *("path_remaining", "url_route"),
    }
)

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a function, after the connection."""

    name: str
    required: bool
    #: Makes text its type; None where no text can be read as that.
    convert: Convert | None


class Parameters:
    """How a function is called for a connection.

    Each parameter is looked for by its name in the route, then in the scope (``user``,
    ``session``, what middleware has put there; ``scope`` is the whole of it), then in the query
    string: what the server knows cannot be overridden by what a browser asks for.

    Args:
        function: an async function, or one that makes an async generator.
        given: the names of those that it is given by whoever calls it.

    Raises:
        EndpointError: it cannot be called like that; the message says why.
    """

    def __init__(self, function: Callable[..., Any], given: Collection[str]) -> None:
        self._function = function
        self._name = getattr(function, "__qualname__", repr(function))
        known = {*given, *_bound_names(function)}
        declared = inspect.signature(function).parameters.values()
        others = [each for each in declared if each.name not in known]
        self._parameters = [self._parameter(each) for each in others if self._is_named(each)]

    def bind(self, scope: Scope) -> dict[str, Any]:
        """The keyword arguments for a connection.

        Raises:
            InvalidMessage: a parameter is missing, or does not fit; the sentence names it.
            EndpointError: a parameter is nowhere, and of a type that no text can be read as.
        """
        route: Mapping[str, Any] = scope.get("url_route", {}).get("kwargs", {})
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        arguments = dict(route)
        for parameter in self._parameters:
            arguments |= self._find(parameter, scope, route, query)
        return arguments

    def _find(
        self,
        parameter: Parameter,
        scope: Scope,
        route: Mapping[str, Any],
        query: Mapping[str, list[str]],
    ) -> dict[str, Any]:
        name = parameter.name
        if name in route:
            value = route[name]
            return {name: _read(parameter, [value]) if isinstance(value, str) else value}
        if name == "scope":
            return {name: scope}
        if name in scope and name not in _NOT_FOR_FUNCTIONS:
            return {name: scope[name]}
        if name in query and parameter.convert is not None:
            return {name: _read(parameter, query[name])}
        if parameter.required:
            raise self._missing(parameter)
        return {}

    def _missing(self, parameter: Parameter) -> Exception:
        if parameter.convert is not None:
            return InvalidMessage(
                ErrorCode.INVALID, f"The parameter {parameter.name} is missing.", path="$"
            )
        return EndpointError(
            f"The parameter {parameter.name} of the endpoint {self._name} is neither in the route "
            "nor in the scope, and its type is none that a query string can hold."
        )

    def _is_named(self, parameter: inspect.Parameter) -> bool:
        if parameter.kind is parameter.VAR_KEYWORD:
            return False  # it takes whatever else the route has
        if parameter.kind not in _BY_NAME:
            raise EndpointError(
                f"The endpoint {self._name} takes {parameter} by position; its arguments are "
                "given by their names."
            )
        return True

    def _parameter(self, parameter: inspect.Parameter) -> Parameter:
        required = parameter.default is parameter.empty
        return Parameter(parameter.name, required, self._converter_of(parameter))

    def _converter_of(self, parameter: inspect.Parameter) -> Convert | None:
        """None for what only the route or the scope can have, such as a user."""
        if parameter.annotation is parameter.empty:
            return text_converter(str)
        try:
            return text_converter(annotation_of(self._function, parameter.annotation))
        except (TypeError, NameError, AttributeError):
            return None


def annotation_of(function: Any, annotation: Any) -> Any:
    """What an annotation of a function stands for, where it may be text.

    One at a time: others may have been imported for the type checker alone.

    Raises:
        NameError, TypeError, AttributeError: the text cannot be resolved.
    """
    while isinstance(function, functools.partial):
        function = function.func
    holder = SimpleNamespace(__annotations__={"it": annotation})
    names = getattr(inspect.unwrap(function), "__globals__", {})
    return typing.get_type_hints(holder, globalns=names, include_extras=True)["it"]


def _bound_names(function: Any) -> set[str]:
    """What the site has bound already, which no browser may override."""
    names: set[str] = set()
    while isinstance(function, functools.partial):
        names |= function.keywords.keys()
        function = function.func
    return names


def _read(parameter: Parameter, texts: list[str]) -> Any:
    """What the texts stand for; as it is where they need not be converted."""
    if parameter.convert is None:
        return texts[0]
    try:
        return parameter.convert(texts)
    except InvalidMessage as error:
        why = "." if is_secret(parameter.name) else f": {error.message}"
        raise InvalidMessage(
            error.code, f"The parameter {parameter.name} is wrong{why}", path="$"
        ) from error
