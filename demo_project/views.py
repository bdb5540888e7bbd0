"""The first two pages, and what the very first one asks the server once a second."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie

from demo_project.accounts import NAMES, PASSWORD
from demo_project.buttons import GROUPS, STATISTICS
from demo_project.endpoints import MAX_MEBIBYTES, get_status, upload
from demo_project.excerpt import Excerpt
from demo_project.tokens import sign
from wsadapter import aonline_clients, aonline_count, aonline_user_count
from wsadapter.errors import StoreUnavailable


@ensure_csrf_cookie
@never_cache
def page(request: HttpRequest) -> HttpResponse:
    users = get_user_model().objects.in_bulk(NAMES, field_name="username")
    people = [{"name": name, "id": users[name].pk, "token": sign(users[name])} for name in NAMES]
    return render(
        request,
        "demo/page.html",
        {
            "people": people,
            "password": PASSWORD,
            "groups": GROUPS,
            "statistics": STATISTICS,
            "supervised": settings.SUPERVISED,
            "lease_seconds": settings.WSADAPTER["LEASE_SECONDS"],
        },
    )


def conversation(request: HttpRequest) -> HttpResponse:
    return render(
        request,
        "demo/conversation.html",
        {
            "max_mebibytes": MAX_MEBIBYTES,
            "upload": Excerpt(upload.function),
            "status": Excerpt(get_status),
        },
    )


@never_cache
async def status(request: HttpRequest) -> JsonResponse:
    """Who is online, as any process can tell; 503 while Redis is away."""
    try:
        answer = JsonResponse({**await _presence(), "process": os.getpid()})
    except StoreUnavailable as error:
        answer = JsonResponse({"error": str(error), "process": os.getpid()}, status=503)
    answer["Connection"] = "close"  # the next question may then go to the other process
    return answer


async def _presence() -> dict[str, Any]:
    return {
        "online": await aonline_count(),
        "users": await aonline_user_count(),
        "clients": [
            {
                "client": client.client_id,
                "user": client.user_id,
                "process": client.process,
                "since": client.connected_at,
            }
            async for client in aonline_clients()
        ],
    }
