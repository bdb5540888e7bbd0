"""What a load balancer asks over plain HTTP: ``path("ready/", wsadapter.views.ready)``."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from wsadapter.draining import is_draining


@never_cache
@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """Whether new connections may come to this process: 200, or 503 while it drains.

    Anybody may ask. The body is JSON: ``{"ready": true}``, or ``{"ready": false, "reason":
    "draining"}``.
    """
    if not is_draining():
        return JsonResponse({"ready": True})
    response = JsonResponse({"ready": False, "reason": "draining"}, status=503)
    # Django would log an error, and mail it to the admins, each time that somebody asks.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response
