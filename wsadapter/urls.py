"""What plain HTTP finds on a WebSocket path: ``path("ws/", include("wsadapter.urls"))``."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def upgrade_required(request: HttpRequest, **kwargs: object) -> HttpResponse:
    """Answer with 426 and the protocol that is spoken here (RFC 9110, section 15.5.22)."""
    return HttpResponse(
        "This address speaks WebSocket: connect with new WebSocket(url).\n",
        status=426,
        content_type="text/plain; charset=utf-8",
        headers={"Upgrade": "websocket", "Connection": "Upgrade"},
    )


urlpatterns = [re_path(r"", upgrade_required)]
