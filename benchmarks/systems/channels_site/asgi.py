"""The ASGI application: the same authentication before all consumers."""

from __future__ import annotations

import gc
import os
from importlib import import_module

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.systems.channels_site.settings")
django_application = get_asgi_application()  # first: it loads the apps

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

# A module: what a system needs, others need not have.
ROUTES = os.environ.get("BENCHMARK_ROUTES", "benchmarks.systems.channels_site.consumers")
routes = import_module(ROUTES).routes
application = ProtocolTypeRouter(
    {"http": django_application, "websocket": AuthMiddlewareStack(URLRouter(routes))}
)

if os.environ.get("BENCHMARK_COLLECTOR") == "patient":
    gc.collect()
    gc.freeze()  # what has been loaded is never looked at again
    gc.set_threshold(50_000, 20, 100)
