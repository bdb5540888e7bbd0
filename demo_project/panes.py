"""A request from one of the two panes of the page."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from kombu.exceptions import OperationalError

from demo_project.permission import REFUSAL, may_break
from demo_project.tokens import user_for
from wsadapter.errors import StoreUnavailable

View = Callable[[HttpRequest], HttpResponse]


def from_pane(view: View) -> View:
    """The view of a button: `request.user` is the pane's user, and Redis may be away."""

    @csrf_exempt  # the Authorization header, which no foreign form can set, stands in for it
    @require_POST
    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        user = user_for(request.headers.get("Authorization", "").removeprefix("Demo "))
        if user is None:
            return refusal("This page is from an earlier run of the demo. Reload it.", 401)
        request.user = user
        try:
            return view(request)
        except (StoreUnavailable, OperationalError) as error:
            return refusal(str(error), 503)

    return answer


def for_breakers(view: View) -> View:
    """The view of a button that breaks something: a 403 for everyone else."""

    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        if not may_break(request.META["REMOTE_ADDR"]):
            return refusal(REFUSAL, 403)
        return view(request)

    return answer


def note(request: HttpRequest) -> dict[str, Any]:
    """What the buttons send: who pressed which one, and which press it was."""
    return {
        "type": "note",
        "origin": "view",
        "from": request.user.get_username(),
        "action": request.resolver_match.url_name,
        "click": request.POST["click"],
        "process": os.getpid(),
    }


def refusal(error: str, status: int) -> JsonResponse:
    return JsonResponse({"error": error}, status=status)
