"""What an ASGI server runs: Django for HTTP, wsadapter for WebSockets."""

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_project.settings")
django_application = get_asgi_application()  # first: it loads the apps

from demo_project.routing import websocket_urlpatterns  # noqa: E402
from wsadapter.routing import websocket_application  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": websocket_application(websocket_urlpatterns),
    }
)
