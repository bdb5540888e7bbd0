"""Realtime for Django: add the app, mount one route, call one helper.

    from wsadapter import broadcast, send_to_user

    broadcast({"type": "deploy", "version": 7})
    send_to_user(order.user, {"type": "order.paid", "id": order.pk}, on_commit=True)

Importing this package works before the settings are configured; the names below load on
first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from wsadapter.auth import is_websocket as is_websocket
    from wsadapter.broadcasting import Receipt as Receipt
    from wsadapter.broadcasting import abroadcast as abroadcast
    from wsadapter.broadcasting import abulk as abulk
    from wsadapter.broadcasting import adisconnect_client as adisconnect_client
    from wsadapter.broadcasting import adisconnect_user as adisconnect_user
    from wsadapter.broadcasting import asend_to_client as asend_to_client
    from wsadapter.broadcasting import asend_to_group as asend_to_group
    from wsadapter.broadcasting import asend_to_user as asend_to_user
    from wsadapter.broadcasting import asend_to_users as asend_to_users
    from wsadapter.broadcasting import broadcast as broadcast
    from wsadapter.broadcasting import bulk as bulk
    from wsadapter.broadcasting import disconnect_client as disconnect_client
    from wsadapter.broadcasting import disconnect_user as disconnect_user
    from wsadapter.broadcasting import send_to_client as send_to_client
    from wsadapter.broadcasting import send_to_group as send_to_group
    from wsadapter.broadcasting import send_to_user as send_to_user
    from wsadapter.broadcasting import send_to_users as send_to_users
    from wsadapter.bytestreams import ByteReader as ByteReader
    from wsadapter.bytestreams import ByteWriter as ByteWriter
    from wsadapter.bytestreams import pipe as pipe
    from wsadapter.close_codes import CloseCode as CloseCode
    from wsadapter.close_codes import ClosedBy as ClosedBy
    from wsadapter.close_codes import should_reconnect as should_reconnect
    from wsadapter.connection import Connection as Connection
    from wsadapter.draining import adrain as adrain
    from wsadapter.draining import drain as drain
    from wsadapter.draining import is_draining as is_draining
    from wsadapter.endpoints import Endpoint as Endpoint
    from wsadapter.endpoints import periodic as periodic
    from wsadapter.endpoints import websocket as websocket
    from wsadapter.errors import AsyncContextError as AsyncContextError
    from wsadapter.errors import ConnectionClosed as ConnectionClosed
    from wsadapter.errors import ConnectionTimeout as ConnectionTimeout
    from wsadapter.errors import EncodeError as EncodeError
    from wsadapter.errors import EndpointError as EndpointError
    from wsadapter.errors import Exhausted as Exhausted
    from wsadapter.errors import Failure as Failure
    from wsadapter.errors import Fatal as Fatal
    from wsadapter.errors import HandlerError as HandlerError
    from wsadapter.errors import InvalidMessage as InvalidMessage
    from wsadapter.errors import PeerError as PeerError
    from wsadapter.errors import ReadTimeout as ReadTimeout
    from wsadapter.errors import ReceiveConflict as ReceiveConflict
    from wsadapter.errors import ReservedType as ReservedType
    from wsadapter.errors import RetriesExhausted as RetriesExhausted
    from wsadapter.errors import StoreUnavailable as StoreUnavailable
    from wsadapter.errors import Transient as Transient
    from wsadapter.errors import UnexpectedFrame as UnexpectedFrame
    from wsadapter.errors import ViewError as ViewError
    from wsadapter.errors import WriteTimeout as WriteTimeout
    from wsadapter.errors import WSAdapterError as WSAdapterError
    from wsadapter.groups import EVERYONE as EVERYONE
    from wsadapter.groups import user_group as user_group
    from wsadapter.handlers import handler as handler
    from wsadapter.outlet import State as State
    from wsadapter.outlet import Stats as Stats
    from wsadapter.presence import ais_online as ais_online
    from wsadapter.presence import amember_count as amember_count
    from wsadapter.presence import amembers as amembers
    from wsadapter.presence import aonline_clients as aonline_clients
    from wsadapter.presence import aonline_count as aonline_count
    from wsadapter.presence import aonline_nodes as aonline_nodes
    from wsadapter.presence import aonline_user_count as aonline_user_count
    from wsadapter.presence import aonline_users as aonline_users
    from wsadapter.presence import is_online as is_online
    from wsadapter.presence import member_count as member_count
    from wsadapter.presence import members as members
    from wsadapter.presence import online_clients as online_clients
    from wsadapter.presence import online_count as online_count
    from wsadapter.presence import online_nodes as online_nodes
    from wsadapter.presence import online_user_count as online_user_count
    from wsadapter.presence import online_users as online_users
    from wsadapter.store.operations import ClientInfo as ClientInfo
    from wsadapter.store.operations import Member as Member
    from wsadapter.store.operations import NodeInfo as NodeInfo
    from wsadapter.streams import Stream as Stream
    from wsadapter.streams import stream as stream
    from wsadapter.wire.batches import Batch as Batch
    from wsadapter.wire.failures import FailureKind as FailureKind
    from wsadapter.wire.health import HealthPolicy as HealthPolicy
    from wsadapter.wire.lanes import Priority as Priority
    from wsadapter.wire.limits import RateLimit as RateLimit
    from wsadapter.wire.outbox import Overflow as Overflow
    from wsadapter.wire.retries import Retry as Retry
    from wsadapter.wire.views import with_views as with_views

_EXPORTS = {
    "wsadapter.auth": ("is_websocket",),
    "wsadapter.broadcasting": (
        "Receipt",
        "abroadcast",
        "abulk",
        "adisconnect_client",
        "adisconnect_user",
        "asend_to_client",
        "asend_to_group",
        "asend_to_user",
        "asend_to_users",
        "broadcast",
        "bulk",
        "disconnect_client",
        "disconnect_user",
        "send_to_client",
        "send_to_group",
        "send_to_user",
        "send_to_users",
    ),
    "wsadapter.bytestreams": (
        "ByteReader",
        "ByteWriter",
        "pipe",
    ),
    "wsadapter.close_codes": (
        "CloseCode",
        "ClosedBy",
        "should_reconnect",
    ),
    "wsadapter.connection": ("Connection",),
    "wsadapter.draining": ("adrain", "drain", "is_draining"),
    "wsadapter.endpoints": (
        "Endpoint",
        "periodic",
        "websocket",
    ),
    "wsadapter.errors": (
        "AsyncContextError",
        "ConnectionClosed",
        "ConnectionTimeout",
        "EncodeError",
        "EndpointError",
        "Exhausted",
        "Failure",
        "Fatal",
        "HandlerError",
        "InvalidMessage",
        "PeerError",
        "ReadTimeout",
        "ReceiveConflict",
        "ReservedType",
        "RetriesExhausted",
        "StoreUnavailable",
        "Transient",
        "UnexpectedFrame",
        "ViewError",
        "WSAdapterError",
        "WriteTimeout",
    ),
    "wsadapter.groups": (
        "EVERYONE",
        "user_group",
    ),
    "wsadapter.handlers": ("handler",),
    "wsadapter.outlet": ("State", "Stats"),
    "wsadapter.presence": (
        "ais_online",
        "amember_count",
        "amembers",
        "aonline_clients",
        "aonline_count",
        "aonline_nodes",
        "aonline_user_count",
        "aonline_users",
        "is_online",
        "member_count",
        "members",
        "online_clients",
        "online_count",
        "online_nodes",
        "online_user_count",
        "online_users",
    ),
    "wsadapter.store.operations": ("ClientInfo", "Member", "NodeInfo"),
    "wsadapter.streams": ("Stream", "stream"),
    "wsadapter.wire.batches": ("Batch",),
    "wsadapter.wire.failures": ("FailureKind",),
    "wsadapter.wire.health": ("HealthPolicy",),
    "wsadapter.wire.lanes": ("Priority",),
    "wsadapter.wire.limits": ("RateLimit",),
    "wsadapter.wire.outbox": ("Overflow",),
    "wsadapter.wire.retries": ("Retry",),
    "wsadapter.wire.views": ("with_views",),
}

_HOME = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'wsadapter' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
