"""Who may connect, and as whom: origins, users, client ids, sessions."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping
from io import BytesIO
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from django.conf import settings as django_settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.utils.http import is_same_domain

from wsadapter import conf
from wsadapter.close_codes import CloseCode
from wsadapter.conf import OriginRule, settings
from wsadapter.groups import digest, user_id
from wsadapter.layers import client_ids
from wsadapter.wire.masking import one_line

logger = logging.getLogger("wsadapter.handshake")

Scope = Mapping[str, Any]

#: Set in the scope once the origin has been checked, so that it is checked once.
ORIGIN_CHECKED = "wsadapter.origin_checked"

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_CLIENT_ID = re.compile(r"[A-Za-z0-9._~:@+=-]{1,128}")


class Refusal(NamedTuple):
    """Why a connection may not stay, and the code that tells the client."""

    code: int
    reason: str
    #: What only the log is told.
    cause: str = ""


class Origin(NamedTuple):
    """What a page is the same as another one by (RFC 6454, section 4)."""

    scheme: str
    host: str
    port: int | None


def header(scope: Scope, name: str) -> str | None:
    """A request header, or None. Header names do not distinguish case."""
    wanted = name.lower().encode("latin-1")
    for key, value in scope.get("headers", ()):
        if key.lower() == wanted:
            return bytes(value).decode("utf-8", "replace")
    return None


def query(scope: Scope, name: str) -> str | None:
    """A parameter of the query string, or None. An empty one is ``""``."""
    text = scope.get("query_string", b"").decode("latin-1")
    values = parse_qs(text, keep_blank_values=True).get(name)
    return values[0] if values else None


def from_request(scope: Scope, source: str | None) -> str | None:
    """The value of ``"query:<name>"`` or ``"header:<name>"``, or None."""
    if source is None:
        return None
    kind, _, name = source.partition(":")
    return query(scope, name) if kind == "query" else header(scope, name)


def is_websocket(request_or_scope: Any) -> bool:
    """Whether this is a WebSocket handshake.

    Args:
        request_or_scope: a Django request (its ``Upgrade`` header decides; RFC 6455, 4.1) or
            an ASGI scope.
    """
    if isinstance(request_or_scope, Mapping):
        return request_or_scope.get("type") == "websocket"
    headers = request_or_scope.headers
    upgrades = [token.strip().lower() for token in headers.get("Upgrade", "").split(",")]
    return "websocket" in upgrades and "upgrade" in headers.get("Connection", "").lower()


# Origins


def origin_refusal(scope: Scope, allowed: Any = None) -> str | None:
    """Why the page that asks for this connection may not have it, or None when it may.

    A browser sends cookies with every WebSocket handshake, whatever page asks for it; the
    Origin header is what tells the pages apart (RFC 6455, section 10.2).

    Args:
        scope: the ASGI connection scope.
        allowed: what stands in for the setting `ALLOWED_ORIGINS`.
    """
    origins = [value for key, value in scope.get("headers", ()) if key.lower() == b"origin"]
    if not origins:
        if settings.allow_no_origin:
            return None
        return 'there is no Origin header and WSADAPTER["ALLOW_NO_ORIGIN"] is False'
    text = origins[0].decode("latin-1")
    rule = settings.allowed_origins if allowed is None else conf.origins(allowed)
    if len(origins) == 1 and _origin_allowed(text, scope, rule):
        return None
    where = 'WSADAPTER["ALLOWED_ORIGINS"]' if allowed is None else "the origins of this path"
    return f"the origin {text[:200]!r} is neither this site nor in CSRF_TRUSTED_ORIGINS or {where}"


def _origin_allowed(text: str, scope: Scope, allowed: Collection[str] | OriginRule) -> bool:
    if callable(allowed):
        if allowed(text, scope):
            return True
        allowed = ()
    if "*" in allowed:
        return True
    origin = _parse_origin(text)
    if origin is None or text.count("/") != 2 or not text[0].isalpha():
        return False  # an origin has no path (RFC 6454, section 7)
    return (
        _is_own(origin, scope)
        or any(_matches(origin, pattern) for pattern in allowed)
        or any(_matches(origin, pattern) for pattern in django_settings.CSRF_TRUSTED_ORIGINS)
        or (django_settings.DEBUG and origin.host in _LOOPBACK)
    )


def _parse_origin(text: str) -> Origin | None:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return None
    if url.scheme not in _DEFAULT_PORTS or not url.hostname or url.username is not None:
        return None
    return Origin(url.scheme, url.hostname, port or _DEFAULT_PORTS[url.scheme])


def _is_own(origin: Origin, scope: Scope) -> bool:
    """Whether the page comes from the very host that it connects to.

    Django's own request knows ALLOWED_HOSTS, USE_X_FORWARDED_HOST and
    SECURE_PROXY_SSL_HEADER.
    """
    request = ASGIRequest({**scope, "type": "http", "method": "GET"}, BytesIO())
    try:
        return origin == _parse_origin(f"{_secure(request)}://{request.get_host()}")
    except DisallowedHost:
        return False


def _secure(request: ASGIRequest) -> str:
    return "https" if request.is_secure() or request.scheme == "wss" else "http"


def _matches(origin: Origin, pattern: str) -> bool:
    """``https://shop.example`` exactly, ``https://*.shop.example`` any subdomain."""
    scheme, _, rest = pattern.partition("://")
    if not rest.startswith("*."):
        return origin == _parse_origin(pattern)
    parent = _parse_origin(f"{scheme}://{rest[2:]}")
    return (
        parent is not None
        and (origin.scheme, origin.port) == (parent.scheme, parent.port)
        and origin.host != parent.host
        and is_same_domain(origin.host, f".{parent.host}")
    )


# Identity


#: What a login leaves in its session: a name for it that outlives a new session key.
LOGIN_NAME = "_wsadapter_login"


def session_digests(session: Any) -> frozenset[str]:
    """The digests that name a login session, fit to travel where its key must not.

    One is of its key, which Django changes with a password; one is of what `logout` left in it
    at the login.
    """
    key = getattr(session, "session_key", None)
    # Not session.get(), which would ask the database on the event loop where nobody did before.
    loaded = getattr(session, "_session_cache", None) or {}
    names = (key, loaded.get(LOGIN_NAME))
    return frozenset(digest(name) for name in names if name)


def identify(user: Any) -> str | None:
    """A user's id as text, or None for an anonymous visitor.

    Raises:
        ValueError: that can be nobody's id.
    """
    if user is None or getattr(user, "is_anonymous", False):
        return None
    id = user_id(user)
    if not id or not _is_utf8(id):
        raise ValueError(
            f"{id[:100]!r} cannot be a user's id: it is empty, or has half of a surrogate pair. "
            "Return None for an anonymous visitor."
        )
    return id


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def client_id_refusal(client_id: str) -> Refusal | None:
    """Why a client may not have the id that it chose, or None when it may."""
    if not _CLIENT_ID.fullmatch(client_id):
        return Refusal(
            CloseCode.BAD_REQUEST,
            "malformed client id: 1 to 128 characters of A-Z a-z 0-9 . _ ~ : @ + = -",
        )
    if client_ids.is_generated(client_id):
        return Refusal(CloseCode.BAD_REQUEST, "this form of client id is given by the server")
    return None


def log_refusal(scope: Scope, reason: str, *, code: int | None = None) -> None:
    """One line for each connection that may not stay: closed with a code, or refused."""
    client = scope.get("client")
    logger.warning(
        "Refused a WebSocket connection to %r from %s with %s: %s.",
        scope.get("path", "")[:200],
        client[0] if client else "an unknown address",
        f"close code {code}" if code is not None else "HTTP status 403",
        one_line(reason).removesuffix("."),
    )


class OriginCheck:
    """ASGI middleware: connections from pages of other sites get HTTP status 403.

    It stands before the session is loaded, so that a foreign page costs nothing.

    Args:
        application: what comes after it.
        origins_of: the origins that the route of a scope names itself, or None.
    """

    def __init__(
        self,
        application: Callable[..., Any],
        origins_of: Callable[[Scope], Any] = lambda scope: None,
    ) -> None:
        self.application = application
        self._origins_of = origins_of

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            await self.application(scope, receive, send)
            return
        refusal = origin_refusal(scope, self._origins_of(scope))
        if refusal is None:
            await self.application({**scope, ORIGIN_CHECKED: True}, receive, send)
            return
        log_refusal(scope, refusal)
        await receive()  # the websocket.connect that the refusal answers
        await send({"type": "websocket.close"})
