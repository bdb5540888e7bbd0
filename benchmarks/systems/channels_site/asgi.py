"""The ASGI application: the same authentication before both consumers."""

from __future__ import annotations

import gc
import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.systems.channels_site.settings")
django_application = get_asgi_application()  # first: it loads the apps

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402

from benchmarks.systems.channels_site.consumers import Consumer, StockConsumer  # noqa: E402

routes = [path("adapter/", Consumer.as_asgi()), path("stock/", StockConsumer.as_asgi())]
application = ProtocolTypeRouter(
    {"http": django_application, "websocket": AuthMiddlewareStack(URLRouter(routes))}
)

if os.environ.get("BENCHMARK_COLLECTOR") == "patient":
    gc.collect()
    gc.freeze()  # what has been loaded is never looked at again
    gc.set_threshold(50_000, 20, 100)
