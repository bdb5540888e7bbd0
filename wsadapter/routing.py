"""``websocket_application(urlpatterns)``: all that stands between a server and a consumer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from django.apps import apps
from django.urls import URLPattern, path, re_path

from wsadapter.auth import OriginCheck, log_refusal
from wsadapter.listing import LIVE_PATH
from wsadapter.live import Live

#: What the admin's page of connections connects to, for a routing of your own.
admin_urlpatterns = [path(LIVE_PATH, Live.as_asgi())]


def websocket_application(urlpatterns: Sequence[URLPattern]) -> OriginCheck:
    """The ASGI application for ``"websocket"`` in a ``ProtocolTypeRouter``.

    It is ``OriginCheck(AuthMiddlewareStack(URLRouter(urlpatterns)))``, which knows the ``origins``
    of a route, with an answer for paths that no pattern matches. Where the Django admin is
    installed, `admin_urlpatterns` come first.

    Args:
        urlpatterns: ``path("ws/", MyConsumer.as_asgi())`` and the like.
    """
    own = admin_urlpatterns if _has_admin() else []
    routes = [*own, *urlpatterns, re_path(r"", cast("Any", _no_such_path))]
    return OriginCheck(AuthMiddlewareStack(URLRouter(routes)), partial(_origins_of, routes))


def _has_admin() -> bool:
    return apps.is_installed("django.contrib.admin") and apps.is_installed("wsadapter")


def _origins_of(routes: Sequence[URLPattern], scope: Any) -> Any:
    """The ``origins`` of the consumer or endpoint that will serve a path, if it names any."""
    path = scope["path"].removeprefix(scope.get("root_path", "")).lstrip("/")
    return _origins_below(routes, path)


def _origins_below(routes: Sequence[URLPattern], path: str) -> Any:
    for route in routes:
        match = route.pattern.match(path)
        if match and isinstance(route.callback, URLRouter):
            return _origins_below(route.callback.routes, match[0])
        if match:
            return getattr(getattr(route.callback, "consumer_class", None), "origins", None)
    return None


async def _no_such_path(scope: Any, receive: Any, send: Any) -> None:
    """Refuse the handshake with 403, which all servers can say without complaint."""
    await receive()
    log_refusal(scope, "no WebSocket route has this path")
    await send({"type": "websocket.close"})
