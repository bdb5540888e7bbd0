"""The WebSocket routes."""

from django.urls import path

from demo_project.chat.consumers import Chat
from demo_project.chat.streams import analytics
from demo_project.consumers import Demo
from demo_project.endpoints import get_status, upload
from wsadapter import periodic

websocket_urlpatterns = [
    path("ws/", Demo.as_asgi()),
    path("ws/upload/", upload.as_asgi()),
    path("ws/status/", periodic(get_status, interval=1, pushes=False).as_asgi()),
    path("ws/chat/", Chat.as_asgi()),
    path("ws/chat/analytics/", analytics.as_asgi()),
]
