"""``websocket_application(urlpatterns)``: all that stands between a server and a consumer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from django.urls import URLPattern, re_path

from wsadapter.auth import OriginCheck, log_refusal


def websocket_application(urlpatterns: Sequence[URLPattern]) -> OriginCheck:
    """The ASGI application for ``"websocket"`` in a ``ProtocolTypeRouter``.

    It is ``OriginCheck(AuthMiddlewareStack(URLRouter(urlpatterns)))``, with an answer for paths
    that no pattern matches.

    Args:
        urlpatterns: ``path("ws/", MyConsumer.as_asgi())`` and the like.
    """
    routes = [*urlpatterns, re_path(r"", cast("Any", _no_such_path))]
    return OriginCheck(AuthMiddlewareStack(URLRouter(routes)))


async def _no_such_path(scope: Any, receive: Any, send: Any) -> None:
    """Refuse the handshake with 403, which all servers can say without complaint."""
    await receive()
    log_refusal(scope, "no WebSocket route has this path")
    await send({"type": "websocket.close"})
