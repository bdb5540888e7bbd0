from __future__ import annotations

from django.urls import path

from tests.project.consumers import Chat, Echo, Plain
from tests.project.ends import Ending, Held

websocket_urlpatterns = [
    path("ws/", Plain.as_asgi()),
    path("ws/chat/", Chat.as_asgi()),
    path("ws/echo/", Echo.as_asgi()),
    path("ws/ends/", Ending.as_asgi()),
    path("ws/held/", Held.as_asgi()),
]
