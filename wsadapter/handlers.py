"""``@handler``: which method takes which message, with the payload's type from its annotation."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from wsadapter.errors import HandlerError, InvalidMessage
from wsadapter.wire.conversion import converter
from wsadapter.wire.envelope import RESERVED_PREFIX, Envelope
from wsadapter.wire.lanes import Priority
from wsadapter.wire.limits import RateLimit
from wsadapter.wire.retries import Retry

Method = TypeVar("Method", bound=Callable[..., Any])

_MARK = "_wsadapter_declaration"


@dataclass(frozen=True, slots=True)
class Declaration:
    """What `handler` was told about a message type."""

    type: str
    #: The lane in which such messages wait; None where the client may say so, or nobody does.
    priority: Priority | None = None
    #: How many of them a client may send.
    rate_limit: RateLimit | None = None
    #: When a transient failure is tried again.
    retry: Retry | None = None

    def __post_init__(self) -> None:
        if not self.type or not isinstance(self.type, str):
            raise HandlerError('@handler needs the message type: @handler("chat.say").')
        if self.type.startswith(RESERVED_PREFIX):
            raise HandlerError(
                f'@handler("{self.type}"): types that begin with "{RESERVED_PREFIX}" belong to '
                "wsadapter; choose another."
            )
        for name, kind in (("priority", Priority), ("rate_limit", RateLimit), ("retry", Retry)):
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise HandlerError(
                    f'@handler("{self.type}", {name}={value!r}): give an instance of '
                    f"{kind.__name__}."
                )


def handler(
    type: str,
    *,
    priority: Priority | None = None,
    rate_limit: RateLimit | None = None,
    retry: Retry | None = None,
) -> Callable[[Method], Method]:
    """Declare an ``async def`` method of a consumer as the handler of a message type.

    ``{"type": "chat.say", "id": 7, "text": "hi"}`` from the browser calls the method that is
    declared with ``@handler("chat.say")``. Its parameter's annotation (``msgspec.Struct``,
    dataclass, TypedDict, pydantic model, ``dict``) is what the fields are validated against;
    what it returns is the reply with the same id.

    Args:
        priority: the lane in which such messages wait for their turn.
        rate_limit: how many of them a client may send; the consumer's own limit holds beside it.
        retry: call the method again when it fails with what is `Transient`. Messages behind it
            wait for that; pushes and heartbeats do not.

    Raises:
        HandlerError: the type is reserved or empty, an option has a value that cannot work, or
            the method is not ``async def``.
    """
    declaration = Declaration(type, priority, rate_limit, retry)

    def mark(method: Method) -> Method:
        if not inspect.iscoroutinefunction(method):
            raise HandlerError(f'The handler of "{type}" must be declared with async def.')
        setattr(method, _MARK, declaration)
        return method

    return mark


@dataclass(frozen=True, slots=True)
class Handler:
    """A declared handler: the method's name and how its payload is made."""

    method: str
    convert: Callable[[dict[str, Any]], Any] | None
    declaration: Declaration

    async def __call__(self, consumer: Any, envelope: Envelope) -> Any:
        """Validate the fields and call the method.

        Raises:
            InvalidMessage: a field does not fit; it has the path and the request's id.
        """
        method = getattr(consumer, self.method)
        if self.convert is None:
            return await method()
        return await method(self._payload(envelope, self.convert))

    def _payload(self, envelope: Envelope, convert: Callable[[dict[str, Any]], Any]) -> Any:
        try:
            return convert(envelope.fields)
        except InvalidMessage as error:
            error.id = envelope.id
            raise


def collect(consumer: type) -> dict[str, Handler]:
    """The handlers that a consumer class declares, by message type.

    Raises:
        HandlerError: two methods declare one type, or a signature cannot take a message.
    """
    found: dict[str, Handler] = {}
    for name, method in inspect.getmembers(consumer, inspect.isfunction):
        declaration = getattr(method, _MARK, None)
        if declaration is None:
            continue
        type = declaration.type
        if type in found:
            raise HandlerError(
                f'{consumer.__qualname__}: both {found[type].method} and {name} handle "{type}".'
            )
        found[type] = Handler(name, _converter(consumer, name, method), declaration)
    return found


def _converter(
    consumer: type, name: str, method: Callable[..., Any]
) -> Callable[[dict[str, Any]], Any] | None:
    parameters = list(inspect.signature(method).parameters.values())[1:]
    if not _takes_one_message(parameters):
        raise HandlerError(
            f"{consumer.__qualname__}.{name} has a signature that no message can be given to; a "
            "handler takes one argument, the message: async def say(self, message: Say)."
        )
    if not parameters:
        return None
    annotation = _annotations(consumer, name, method).get(parameters[0].name, dict)
    return _conversion_to(annotation, f"{consumer.__qualname__}.{name}")


def _takes_one_message(parameters: list[inspect.Parameter]) -> bool:
    """Whether a method can be called with one positional argument, or has no parameter at all."""
    if not parameters:
        return True
    first, *others = parameters
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return first.kind in _POSITIONAL and all(
        other.kind in optional or other.default is not other.empty for other in others
    )


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _annotations(consumer: type, name: str, method: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(method)
    except (NameError, AttributeError) as error:
        raise HandlerError(
            f"The annotation of {consumer.__qualname__}.{name} cannot be resolved: {error}. "
            "Define or import its type at module level."
        ) from error


def _conversion_to(annotation: Any, where: str) -> Callable[[dict[str, Any]], Any]:
    read = _reader_of(annotation, where)
    if _declares(annotation, "type") or _declares(annotation, "id"):
        return read
    return lambda fields: read(_own_fields(fields))


def _reader_of(annotation: Any, where: str) -> Callable[[dict[str, Any]], Any]:
    try:
        return converter(annotation)
    except TypeError as error:
        raise HandlerError(f"{where}: {error}") from error


def _declares(annotation: Any, field: str) -> bool:
    """Whether a payload type wants one of the envelope's own fields."""
    kind = typing.get_origin(annotation) or annotation  # dict[str, str] is a dict
    if kind in (typing.Union, types.UnionType):
        return any(_declares(member, field) for member in typing.get_args(annotation))
    config = getattr(kind, "__struct_config__", None)
    if config is not None:
        return field == config.tag_field or field in kind.__struct_encode_fields__
    if hasattr(kind, "model_fields"):
        return any(field in (name, info.alias) for name, info in kind.model_fields.items())
    return isinstance(kind, type) and field in typing.get_type_hints(kind)


def _own_fields(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in ("type", "id")}
