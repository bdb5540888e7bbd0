"""``@websocket``: a function that talks with one client, as an ASGI application."""

from __future__ import annotations

import asyncio
import difflib
import functools
import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, Concatenate, ParamSpec, TypedDict, Unpack, overload

from channels import db

from wsadapter.auth import Refusal
from wsadapter.calling import call
from wsadapter.close_codes import CloseCode
from wsadapter.conf import OriginRule
from wsadapter.connection import Connection
from wsadapter.consumers import AdapterConsumer, handler_logger, is_being_cancelled
from wsadapter.errors import EndpointError, InvalidMessage, PeerError
from wsadapter.failing import Meanings, log_failed
from wsadapter.parameters import Parameters
from wsadapter.repetition import Duplicates, Getter, Repetition
from wsadapter.tasks import causes
from wsadapter.wire import envelope
from wsadapter.wire.batches import Batch
from wsadapter.wire.health import HealthPolicy
from wsadapter.wire.limits import RateLimit
from wsadapter.wire.masking import one_line
from wsadapter.wire.outbox import Overflow
from wsadapter.wire.priorities import Priorities

P = ParamSpec("P")
Function = Callable[Concatenate[Connection, P], Awaitable[Any]]


class Options(TypedDict, total=False):
    """What an endpoint may be told. What is left out, or None, is as for `AdapterConsumer`."""

    #: Origins that may connect, in place of the setting `ALLOWED_ORIGINS`.
    origins: str | Collection[str] | OriginRule | None
    #: Who is connecting: sync or async, from the ASGI scope to a user, a primary key or None.
    #: ``DenyConnection`` refuses the handshake.
    authenticate: Callable[[Any], Any] | None
    #: Whether visitors without a user may connect.
    allow_anonymous: bool | None
    #: Those that the endpoint speaks, the preferred one first.
    subprotocols: Sequence[str]
    #: Seconds of silence before a ping.
    heartbeat_interval: float | None
    #: Seconds to wait for an answer to it.
    heartbeat_timeout: float | None
    #: Whom a missing pong kills: "auto", "always" or "never".
    heartbeat_mode: str | None
    #: Bytes; a larger message ends the connection with 3501.
    max_message_size: int | None
    #: Bytes that may wait to be sent.
    max_outbox_size: int | None
    #: Messages that may wait to be read, in each lane, before the client has to wait.
    inbox_size: int
    #: What happens to a push that does not fit.
    overflow: Overflow
    #: How many messages a client may send.
    rate_limit: RateLimit | None
    #: How many of a type.
    rate_limits: Mapping[str, RateLimit]
    #: The lanes of the types that it sends, in place of the setting `PRIORITIES`.
    priorities: Priorities | None
    #: The views of a message that clients may choose from.
    views: Sequence[str]
    #: When messages that are collected leave as one frame.
    batch: Batch | None
    #: What the project's own exceptions mean to a client.
    errors: Meanings
    #: Whether and how much permessage-deflate compresses, where the server can: False, True, or
    #: a level from 1 (fast) to 9 (small).
    compression: bool | int | None
    #: When a connection counts as unhealthy and is closed.
    health: HealthPolicy | None
    #: Whether ``{"type": "ws:welcome", "client": id}`` is the first message.
    welcome: bool
    #: Whether `broadcast`, `send_to_user` and `send_to_users` reach it.
    pushes: bool
    #: Whether the groups that it joins are told who joins and who leaves.
    announce_members: bool
    #: Further groups to join.
    groups: Sequence[str]


class Endpoint:
    """A function that talks with one client; `as_asgi` mounts it.

    Args:
        function: ``async def`` with the connection as its first parameter.
        options: see `Options`.
        reads: whether it may read what the client sends; else every message is answered with
            an error.

    Raises:
        EndpointError: the function cannot be called so, or there is no such option.
    """

    #: How it is called where something is wrong with it.
    kind: ClassVar[str] = "endpoint"
    #: A TypedDict of the options that there are.
    known_options: ClassVar[Any] = Options

    def __init__(self, function: Callable[..., Any], options: Any, *, reads: bool = True) -> None:
        self.__name__ = name_of(function)
        self.__doc__ = function.__doc__
        self.function = function
        self.options = options
        self.reads = reads
        self._check_options()
        self.parameters = Parameters(function, self._given_parameters())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.__name__}>"

    def as_asgi(self) -> Any:
        """The ASGI application for ``routing.py``."""
        return self._consumer(EndpointConsumer, self.options).as_asgi()

    def _consumer(self, base: type[EndpointConsumer], options: Mapping[str, Any]) -> Any:
        """A consumer class; the options become its attributes, as far as they are given."""
        given = {name: value for name, value in options.items() if value is not None}
        given.pop("authenticate", None)  # a method of consumers, which calls the function
        return type(self.__name__, (base,), {"endpoint": self, **given})

    def _given_parameters(self) -> Collection[str]:
        """The names of the parameters that do not come with a connection's request."""
        return {_connection_parameter(self.function)}

    def _check_options(self) -> None:
        names = self.known_options.__annotations__
        for name in self.options:
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                hint = f"Did you mean {close[0]}?" if close else f"There are {', '.join(names)}."
                raise EndpointError(
                    f"The {self.kind} {self.__name__} has no option {name!r}. {hint}"
                )


class EndpointConsumer(AdapterConsumer):
    """Runs an endpoint's function for each connection."""

    endpoint: ClassVar[Endpoint]
    subprotocols: Sequence[str] = ()

    async def authenticate(self) -> Any:
        given = self.endpoint.options.get("authenticate")
        return await (super().authenticate() if given is None else call(given, self.scope))

    async def connect(self) -> None:
        subprotocol = self._choose_subprotocol()
        if subprotocol is None and self.subprotocols and self.scope.get("subprotocols"):
            spoken = ", ".join(self.subprotocols)
            await self._refuse(Refusal(CloseCode.BAD_REQUEST, f"subprotocols here: {spoken}"))
            return
        try:
            # Whoever authenticate() has found, in place of the session's user.
            arguments = self.endpoint.parameters.bind({**self.scope, "user": self.user})
        except InvalidMessage as error:
            await self._refuse(Refusal(CloseCode.BAD_REQUEST, error.message))
            return
        await self.accept(subprotocol)
        self.connection.create_task(self._run(arguments), name=type(self).__name__)

    def _choose_subprotocol(self) -> str | None:
        offered = self.scope.get("subprotocols") or ()
        return next((each for each in self.subprotocols if each in offered), None)

    def _refuses_unread(self) -> bool:
        return not self.endpoint.reads

    async def _run(self, arguments: dict[str, Any]) -> None:
        """Call the function; the connection ends as it does."""
        try:
            ending = await self._converse(arguments)
        except BaseException:  # such as being cancelled: nobody talks with this client any more
            self.connection.close_soon(CloseCode.INTERNAL_ERROR, "internal error")
            raise
        self.connection.close_soon(*ending, drain=True)
        # Not in a finally: with an exception in the air, the thread would keep it.
        await db.aclose_old_connections()

    async def _converse(self, arguments: dict[str, Any]) -> tuple[int, str]:
        """Call the function. Returns the code and the reason to close with."""
        try:
            await self._call(arguments)
        except asyncio.CancelledError as error:
            if is_being_cancelled():
                raise
            return self._failed(error)
        except Exception as error:
            if self.connection.is_its_end(error):
                return CloseCode.NORMAL, ""
            mistakes = [cause for cause in causes(error) if isinstance(cause, PeerError)]
            if len(mistakes) == len(causes(error)):
                return self._erred(mistakes[0])
            return self._failed(error)
        return CloseCode.NORMAL, ""

    async def _call(self, arguments: dict[str, Any]) -> None:
        await self.endpoint.function(self.connection, **arguments)

    def _erred(self, error: PeerError) -> tuple[int, str]:
        mistake = _described(error)
        handler_logger.warning(
            "Client %s of %s erred: %s",
            self.connection.client_id,
            type(self).__name__,
            one_line(mistake),
        )
        return CloseCode.BAD_REQUEST, mistake

    def _failed(self, error: BaseException) -> tuple[int, str]:
        failure = self._meaning_of(error)
        self.connection.stats.errors += 1
        log_failed(
            error,
            failure,
            f"The {self.endpoint.kind} %s failed with client %s%s",
            type(self).__name__,
            self.connection.client_id,
        )
        if failure is None:
            return CloseCode.INTERNAL_ERROR, "internal error"
        self.connection.post(envelope.failed(failure))
        return failure.close_code, failure.message


@overload
def websocket(function: Function[P], /) -> Endpoint: ...


@overload
def websocket(**options: Unpack[Options]) -> Callable[[Function[...]], Endpoint]: ...


def websocket(function: Function[...] | None = None, /, **options: Unpack[Options]) -> Any:
    """Make an async function an endpoint: ``path("ws/status/", status.as_asgi())``.

        @websocket
        async def status(connection: Connection) -> None:
            await connection.send_periodically(get_status, interval=5)

    Each connection is accepted, registered as with `AdapterConsumer`, and handed to the function,
    which is cancelled when the client goes; one that reads learns of the end by what it reads.
    The connection is closed with 1000 when the function returns, with 1011 when it raises, and
    with 3501 when it leaves a mistake of the client's (`InvalidMessage`, `UnexpectedFrame`)
    unhandled.

    Further parameters are taken by their names from the route, the scope, and the query
    string, from which they are read as their annotations say.

    Args:
        options: see `Options`.

    Raises:
        EndpointError: the function cannot be called so, or there is no such option.
    """
    if function is None:
        return lambda function: Endpoint(function, options)
    return Endpoint(function, options)


def periodic(
    get: Getter,
    *,
    interval: float,
    deduplicate: bool | Duplicates = True,
    **options: Unpack[Options],
) -> Endpoint:
    """An endpoint that sends what a function returns, at once and then at every interval.

        path("ws/status/", periodic(get_status, interval=5).as_asgi())

    Args:
        get, interval, deduplicate: see `Connection.send_periodically`.
        options: see `Options`.

    Raises:
        ValueError: the interval is not a positive number.
        TypeError: a function is none.
    """
    # What cannot work fails now, and not when the first client comes.
    Repetition(get, interval_seconds=interval, deduplicate=deduplicate)

    async def send_periodically(connection: Connection) -> None:
        await connection.send_periodically(get, interval=interval, deduplicate=deduplicate)

    send_periodically.__name__ = send_periodically.__qualname__ = name_of(get)
    return Endpoint(send_periodically, options, reads=False)


def _connection_parameter(function: Any) -> str:
    """The name of a function's first parameter, which has to take the connection."""
    name = getattr(function, "__qualname__", repr(function))
    if not inspect.iscoroutinefunction(function):
        raise EndpointError(f"The endpoint {name} must be declared with async def.")
    declared = list(inspect.signature(function).parameters.values())
    if not declared or declared[0].kind not in _BY_POSITION:
        raise EndpointError(
            f"The endpoint {name} takes no connection; its first parameter is the "
            f"connection: async def {name_of(function)}(connection)."
        )
    if declared[0].name == "self":
        raise EndpointError(
            f"The endpoint {name} is a method; an endpoint is a function, which is "
            "called with nothing but its connection and parameters."
        )
    return declared[0].name


_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _described(error: PeerError) -> str:
    """A sentence, and where in the message it is about."""
    path = getattr(error, "path", None)
    return f"{error} ({path})" if path not in (None, "$") else str(error)


def name_of(function: Any) -> str:
    """What a function is called, whatever it is wrapped in."""
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__name__", None) or type(function).__name__
