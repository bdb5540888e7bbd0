"""The running site, as a browser reaches it: address, proxy, origin, server, and back.

Needs the extra ``wsadapter[client]``. It uses the library below `wsadapter.client`, since that
client comes back by itself where the doctor wants to know how the first attempt ended.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Origin

from wsadapter.broadcasting import Receipt, asend_to_client
from wsadapter.close_codes import CloseCode
from wsadapter.doctor.finding import Finding, error, fine, warning
from wsadapter.errors import StoreUnavailable
from wsadapter.wire.masking import masked_query, one_line

#: Seconds for each step: the handshake, the welcome, the message.
PATIENCE_SECONDS = 5.0

SERVER, WAY_BACK = "server", "server, back"

#: What an HTTP status in place of a WebSocket says about the way.
BY_STATUS = {
    401: "Something in front of the server wants a login. Let the WebSocket path pass.",
    403: "Nothing is mounted on that path, the consumer denied it, or the origin was refused: the "
    "server's log wsadapter.handshake says which. Add an origin to ALLOWED_ORIGINS, or give the "
    "right one by --origin.",
    502: "The proxy does not reach the server. Start it, or correct its address in the proxy.",
    503: "Nothing serves there now. Start the server.",
    504: "The server did not answer the proxy. Look at the server's log.",
}
OTHER_STATUS = (
    "It should have become a WebSocket: mount a consumer on that path, run an ASGI server, and "
    "let a proxy pass the headers Upgrade and Connection on."
)


async def connect_to_server(url: str, origin: str | None) -> list[Finding]:
    """Connect, be welcomed, get a message that this process sends.

    Args:
        url: ws or wss.
        origin: as browsers send it; None for that of a page on the same host.
    """
    shown, page = printable_url(url), origin or origin_of(url)
    try:
        async with connect(
            url,
            origin=Origin(page),
            compression=None,
            open_timeout=PATIENCE_SECONDS,
            close_timeout=PATIENCE_SECONDS,
            max_size=None,
        ) as socket:
            return await _converse(socket, shown)
    except (OSError, EOFError, InvalidHandshake, InvalidURI, ConnectionClosed) as failure:
        return [explained(failure, shown, page)]


def printable_url(url: str) -> str:
    """Without user name and password, and with the secrets of its query masked."""
    parts = urlsplit(url)
    query = f"?{masked_query(parts.query)}" if parts.query else ""
    return one_line(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{query}")


def origin_of(url: str) -> str:
    """What a browser sends from a page on the same host."""
    parts = urlsplit(url)
    scheme = "https" if parts.scheme == "wss" else "http"
    return f"{scheme}://{parts.netloc.rpartition('@')[2]}"


def explained(failure: Exception, shown: str, page: str) -> Finding:
    """What went wrong on the way to the welcome."""
    match failure:
        case InvalidURI():
            advice = "Give one that begins with ws:// or wss://."
            return error(SERVER, f"{shown} is no address of a WebSocket.", advice)
        case InvalidStatus():
            status = failure.response.status_code
            found = f"{shown} answers a page of {page} with HTTP status {status}."
            return error(SERVER, found, BY_STATUS.get(status, OTHER_STATUS))
        case ConnectionClosed():
            return closed(failure, shown)
        case TimeoutError():
            found = f"{shown} did not answer within {PATIENCE_SECONDS:g} s."
            return error(SERVER, found, "Look at the server's log, and at firewalls on the way.")
        case _:
            why = one_line(str(failure)) or type(failure).__name__
            advice = "Check that the server runs there, and the address."
            return error(SERVER, f"{shown} cannot be reached ({why}).", advice)


def closed(end: ConnectionClosed, shown: str) -> Finding:
    """A connection that was accepted and closed before its welcome."""
    code, reason = (end.rcvd.code, end.rcvd.reason) if end.rcvd else (CloseCode.ABNORMAL, "")
    found = f"{shown} accepts, and closes with {int(code)} ({one_line(reason)})."
    if code == CloseCode.UNAUTHENTICATED:
        return warning(
            SERVER,
            found,
            "So the way there is fine. For the way back as well, give a route that takes "
            "anonymous visitors, or one whose query has a token.",
        )
    return error(
        SERVER, found, "docs/errors.md says what the code means; the server's log has why."
    )


async def _converse(socket: ClientConnection, shown: str) -> list[Finding]:
    """Raises: ConnectionClosed: before the welcome."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            client_id = await _welcome(socket)
    except TimeoutError:
        found = f"{shown} accepts, and sends no welcome."
        advice = "Give the route of a consumer of wsadapter whose welcome is True."
        return [warning(SERVER, found, advice)]
    return [fine(SERVER, f"{shown} welcomes."), await _way_back(socket, client_id)]


async def _welcome(socket: ClientConnection) -> str:
    """The client id."""
    while True:
        message = _decoded(await socket.recv())
        if message.get("type") == "ws:welcome":
            return str(message["client"])


async def _way_back(socket: ClientConnection, client_id: str) -> Finding:
    message = {"type": "wsadapter.doctor", "nonce": uuid4().hex}
    begun = time.perf_counter()
    try:
        receipt = await asend_to_client(client_id, message)
    except StoreUnavailable as failure:
        return error(WAY_BACK, str(failure), "Mend the Redis of this process first.")
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while _decoded(await socket.recv()) != message:
                pass  # what others send
    except (TimeoutError, ConnectionClosed):
        return lost(receipt)
    return arrived(receipt, time.perf_counter() - begun)


def _decoded(frame: str | bytes) -> dict[str, Any]:
    """A message with a type; empty for all other frames."""
    try:
        message = json.loads(frame)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def lost(receipt: Receipt) -> Finding:
    """What was sent from here did not arrive there."""
    found = f"What this process sends does not arrive within {PATIENCE_SECONDS:g} s."
    if receipt.online:
        advice = "Presence is shared: compare CHANNEL_LAYERS, its prefix and its keys, on both."
    else:
        advice = "The server knows another Redis: compare CHANNEL_LAYERS and REDIS_URL on both."
    return error(WAY_BACK, found, advice)


def arrived(receipt: Receipt, seconds: float) -> Finding:
    found = f"A message from this process arrived after {seconds * 1000:.2g} ms"
    if receipt.online:
        return fine(WAY_BACK, f"{found}.")
    return error(
        WAY_BACK,
        f"{found}, and this process does not count the connection.",
        "Presence is not shared: compare REDIS_URL and KEY_PREFIX on both.",
    )
