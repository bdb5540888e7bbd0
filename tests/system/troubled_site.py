"""tests/project, with consumers and a middleware that have what goes wrong at sites.

``/troubled/broken/``     its ``connect`` raises
``/troubled/refusing/``   its ``connect`` says no
``/troubled/patient/``    drops what its client does not read
``/troubled/wrapped/``    behind a middleware that fails on some frames
"""

from __future__ import annotations

from typing import Any

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application
from django.urls import path

django_application = get_asgi_application()  # first: it loads the apps

from tests.project.routing import websocket_urlpatterns  # noqa: E402
from wsadapter import Overflow  # noqa: E402
from wsadapter.consumers import AdapterConsumer  # noqa: E402
from wsadapter.routing import websocket_application  # noqa: E402

#: A frame with this in it cannot be sent through the middleware.
UNSENDABLE = "unsendable"


class Broken(AdapterConsumer):
    async def connect(self) -> None:
        raise KeyError("PAYMENTS_URL")


class Refusing(AdapterConsumer):
    async def connect(self) -> None:
        await self.close()


class Patient(AdapterConsumer):
    overflow = Overflow.DROP_OLDEST


class BreakingMiddleware:
    """Fails on some frames, as a middleware may that looks into them."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_checked(event: Any) -> None:
            if UNSENDABLE in (event.get("text") or ""):
                raise ValueError("the middleware broke")
            await send(event)

        await self._application(scope, receive, send_checked)


wrapped: Any = BreakingMiddleware(AdapterConsumer.as_asgi())

troubled = [
    path("troubled/broken/", Broken.as_asgi()),
    path("troubled/refusing/", Refusing.as_asgi()),
    path("troubled/patient/", Patient.as_asgi()),
    path("troubled/wrapped/", wrapped),
]

application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": websocket_application([*troubled, *websocket_urlpatterns]),
    }
)
