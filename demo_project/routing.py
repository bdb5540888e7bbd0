"""The WebSocket routes."""

from django.urls import path

from demo_project.consumers import Demo

websocket_urlpatterns = [path("ws/", Demo.as_asgi())]
