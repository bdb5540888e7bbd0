"""Servers are known by name, and only those that are known are treated specially."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from channels.sessions import InstanceSessionWrapper
from daphne.server import Server
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from wsadapter import servers


class Transport:
    aborted = False

    def abort(self) -> None:
        self.aborted = True


class DaphneProtocol:
    aborted = False

    def dropConnection(self, *, abort: bool) -> None:  # noqa: N802
        self.aborted = abort


def uvicorn_send(kind: type = WebSocketsSansIOProtocol) -> tuple[Any, Transport]:
    """The bound ``send`` of a uvicorn protocol that has nothing but a transport."""
    protocol: Any = object.__new__(kind)
    protocol.transport = Transport()
    return protocol.send, protocol.transport


def daphne_send() -> tuple[Any, DaphneProtocol]:
    """What daphne gives an application: its ``handle_reply`` with the protocol filled in."""
    protocol = DaphneProtocol()
    return partial(Server.handle_reply, protocol), protocol


def wrapped(send: Any) -> Any:
    """The ``send`` that Channels' session middleware hands on."""
    wrapper = InstanceSessionWrapper.__new__(InstanceSessionWrapper)
    wrapper.real_send = send
    return wrapper.send


class Subclass(WebSocketsSansIOProtocol):
    """uvicorn's own protocol, configured differently."""


async def unknown_send(event: Any) -> None: ...


class Server2:
    async def send(self, event: Any) -> None: ...


@pytest.mark.parametrize(
    ("send", "known"),
    [
        (uvicorn_send()[0], True),
        (uvicorn_send(Subclass)[0], True),
        (daphne_send()[0], True),
        (unknown_send, False),
        (Server2().send, False),
        (partial(unknown_send, DaphneProtocol()), False),
        (partial(Server2.send, Server2()), False),
        (wrapped(daphne_send()[0]), False),
    ],
)
def test_only_a_known_servers_own_send_is_stepped_by_hand(send: Any, known: bool) -> None:
    assert servers.can_be_stepped(send) is known


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_under_channels_session_middleware_is_the_servers_own_send(depth: int) -> None:
    own, _ = daphne_send()
    send = own
    for _ in range(depth):
        send = wrapped(send)
    assert servers.unwrap(send) is own


def test_other_middleware_is_left_in_its_place() -> None:
    class Subclassed(InstanceSessionWrapper):
        """It may do more than its base."""

    wrapper = Subclassed.__new__(Subclassed)
    wrapper.real_send = unknown_send
    assert servers.unwrap(wrapper.send) == wrapper.send
    assert servers.unwrap(unknown_send) is unknown_send


def test_uvicorn_is_cut_at_the_transport() -> None:
    send, transport = uvicorn_send()
    servers.cut(send)
    assert transport.aborted


def test_daphne_is_cut_without_waiting_for_its_buffer() -> None:
    send, protocol = daphne_send()
    servers.cut(send)
    assert protocol.aborted


def test_an_unknown_server_is_not_cut() -> None:
    servers.cut(unknown_send)


@pytest.mark.parametrize(
    ("scope", "tells"),
    [
        ({"asgi": {"spec_version": "2.3"}}, True),
        ({"asgi": {"spec_version": "2.4"}}, True),
        ({"asgi": {"spec_version": "2.10"}}, True),
        ({"asgi": {"spec_version": "3.0"}}, True),
        ({"asgi": {"spec_version": "2.2"}}, False),
        ({"asgi": {"spec_version": "2"}}, False),
        ({"asgi": {"version": "3.0"}}, False),
        ({"asgi": {"spec_version": "junk"}}, False),
        ({"asgi": {}}, False),
        ({}, False),
    ],
    ids=repr,
)
def test_reasons_are_told_since_version_2_3_of_the_specification(scope: Any, tells: bool) -> None:
    assert servers.tells_reasons(scope) is tells
