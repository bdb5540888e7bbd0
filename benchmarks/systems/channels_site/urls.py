"""What the benchmark asks of a running server over plain HTTP."""

from __future__ import annotations

import gc
import json

from channels.layers import get_channel_layer
from django.http import HttpRequest, HttpResponse
from django.urls import path

from benchmarks.systems.channels_site.consumers import GROUP
from wsadapter.views import ready


async def broadcast(request: HttpRequest) -> HttpResponse:
    """Send from inside of the server: the only way on an in-memory layer."""
    layer = get_channel_layer()
    for text in json.loads(request.body):
        await layer.group_send(GROUP, {"type": "push", "text": text})
    return HttpResponse(status=204)


async def collect(request: HttpRequest) -> HttpResponse:
    """Free what is garbage before memory is measured."""
    gc.collect()
    return HttpResponse(status=204)


urlpatterns = [
    path("broadcast/", broadcast),
    path("collect/", collect),
    path("ready/", ready),
]
