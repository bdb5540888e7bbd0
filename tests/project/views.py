"""The helpers behind URLs, for tests that act on a server from outside.

The body of a POST is the JSON of what `tests.project.sending.send` takes:

    POST /send/user/    {"to": "7", "data": {"type": "order.paid"}, "times": 1, "on_commit": true}
    POST /asend/all/    {"data": "hello", "exclude": ["…"]}

An error of wsadapter is answered with 503 and its name.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model, login, logout
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

import wsadapter
from tests.project import sending
from wsadapter.errors import WSAdapterError

View = Callable[..., HttpResponse]


def telling_errors(view: View) -> View:
    @csrf_exempt
    @functools.wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except WSAdapterError as error:
            return told(error)

    return wrapper


def told(error: WSAdapterError) -> HttpResponse:
    return JsonResponse({"error": type(error).__name__, "message": str(error)}, status=503)


def pid(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"pid": os.getpid()})


@csrf_exempt
def log_in(request: HttpRequest) -> HttpResponse:
    """Start a session for the user of that name, who is created when there is none."""
    name = json.loads(request.body)["name"]
    user, _ = get_user_model().objects.get_or_create(username=name)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return JsonResponse({"user_id": str(user.pk), "session_key": request.session.session_key})


@csrf_exempt
def log_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return JsonResponse({})


@telling_errors
def send(request: HttpRequest, target: str) -> HttpResponse:
    return JsonResponse(sending.send(target, **json.loads(request.body)))


@csrf_exempt
async def asend(request: HttpRequest, target: str) -> HttpResponse:
    try:
        return JsonResponse(await sending.asend(target, **json.loads(request.body)))
    except WSAdapterError as error:
        return told(error)


@telling_errors
def send_in_transaction(request: HttpRequest, outcome: str, target: str) -> HttpResponse:
    """Send inside a transaction that ends in a "commit" or a "rollback"."""
    with transaction.atomic():
        receipt = sending.send(target, **json.loads(request.body))
        transaction.set_rollback(outcome == "rollback")
    return JsonResponse(receipt)


@telling_errors
def disconnect_user(request: HttpRequest, user: str) -> HttpResponse:
    return JsonResponse({"connections": wsadapter.disconnect_user(user)})


@telling_errors
def disconnect_client(request: HttpRequest, client_id: str) -> HttpResponse:
    return JsonResponse({"connections": wsadapter.disconnect_client(client_id)})


@telling_errors
def counts(request: HttpRequest) -> HttpResponse:
    return JsonResponse(
        {"clients": wsadapter.online_count(), "users": wsadapter.online_user_count()}
    )


async def acounts(request: HttpRequest) -> HttpResponse:
    return JsonResponse(
        {"clients": await wsadapter.aonline_count(), "users": await wsadapter.aonline_user_count()}
    )


@telling_errors
def online(request: HttpRequest) -> HttpResponse:
    """Who is online, and where."""
    clients = [
        {"client_id": client.client_id, "user_id": client.user_id, "process": client.process}
        for client in wsadapter.online_clients()
    ]
    return JsonResponse({"users": sorted(wsadapter.online_users()), "clients": clients})
