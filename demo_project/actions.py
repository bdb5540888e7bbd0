"""The views behind the buttons. The page shows their source, so each is as short as it can be."""

from __future__ import annotations

import os
import signal

from django.db import transaction
from django.http import HttpRequest, JsonResponse

from demo_project.panes import for_breakers, from_pane, note
from demo_project.tasks import make_report
from wsadapter import broadcast, send_to_client, send_to_user


@from_pane
def to_me(request: HttpRequest) -> JsonResponse:
    receipt = send_to_user(request.user, note(request))
    return JsonResponse({"processes": receipt.processes})


@from_pane
def to_other(request: HttpRequest) -> JsonResponse:
    receipt = send_to_user(request.POST["other"], note(request))
    return JsonResponse({"processes": receipt.processes})


@from_pane
def to_all(request: HttpRequest) -> JsonResponse:
    receipt = broadcast(note(request))
    return JsonResponse({"processes": receipt.processes})


@from_pane
def to_all_others(request: HttpRequest) -> JsonResponse:
    this_tab = request.headers["X-Client-Id"]
    receipt = broadcast(note(request), exclude=[this_tab])
    return JsonResponse({"processes": receipt.processes})


@from_pane
def to_this_tab(request: HttpRequest) -> JsonResponse:
    this_tab = request.headers["X-Client-Id"]
    receipt = send_to_client(this_tab, note(request))
    return JsonResponse({"online": receipt.online})


@from_pane
def commit(request: HttpRequest) -> JsonResponse:
    with transaction.atomic():
        send_to_user(request.user, note(request), on_commit=True)
    return JsonResponse({"committed": True})


@from_pane
def roll_back(request: HttpRequest) -> JsonResponse:
    with transaction.atomic():
        send_to_user(request.user, note(request), on_commit=True)
        transaction.set_rollback(True)
    return JsonResponse({"rolled_back": True})


@from_pane
def report(request: HttpRequest) -> JsonResponse:
    make_report.delay(request.user.pk, request.POST["click"])
    return JsonResponse({"queued": True})


@from_pane
@for_breakers
def stop_redis(request: HttpRequest) -> JsonResponse:
    os.kill(os.getppid(), signal.SIGUSR1)  # to the supervisor
    return JsonResponse({"stopped": True})
