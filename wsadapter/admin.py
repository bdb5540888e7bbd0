"""The page of the Django admin that shows who is connected, disconnects them and sends to them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.request import QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, get_script_prefix, path, reverse
from django.utils import timezone

from wsadapter.broadcasting import (
    Receipt,
    broadcast,
    disconnect_client,
    disconnect_user,
    send_to_client,
    send_to_user,
)
from wsadapter.errors import EncodeError, ReservedType, StoreUnavailable
from wsadapter.listing import LIVE_PATH, VIEW, By, Listing, Query, find, names_of, nodes
from wsadapter.models import Connection
from wsadapter.wire.masking import one_line

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Connection]
else:
    _ModelAdmin = admin.ModelAdmin

logger = logging.getLogger("wsadapter.admin")

DISCONNECT = "wsadapter.disconnect_connection"
SEND = "wsadapter.send_connection"


class Target:
    """Whom an action is for: one connection, those of a user, or everybody's."""

    def __init__(self, fields: QueryDict) -> None:
        self.client_id = fields.get("client", "")
        self.user_id = fields.get("user", "")

    def __str__(self) -> str:
        if self.client_id:
            return f"the connection {self.client_id}"
        if self.user_id:
            name = names_of([self.user_id]).get(self.user_id, self.user_id)
            return f"all connections of {name}"
        return "everybody"

    @property
    def fields(self) -> dict[str, str]:
        """The parameters that name it."""
        named = {"client": self.client_id, "user": self.user_id}
        return {name: value for name, value in named.items() if value}

    def send(self, data: Any) -> Receipt:
        if self.client_id:
            return send_to_client(self.client_id, data)
        return send_to_user(self.user_id, data) if self.user_id else broadcast(data)

    def disconnect(self) -> int:
        """Returns how many connections it was."""
        if self.client_id:
            return disconnect_client(self.client_id)
        return disconnect_user(self.user_id)


class MessageForm(forms.Form):
    """A message to be sent, as JSON or as it stands."""

    kind = forms.ChoiceField(
        label="Send as",
        choices=[("json", "JSON"), ("text", "Text, as it stands")],
        widget=forms.RadioSelect,
        initial="json",
    )
    text = forms.CharField(
        label="Message",
        strip=False,
        widget=forms.Textarea(attrs={"rows": 8, "class": "vLargeTextField", "spellcheck": "false"}),
        initial='{"type": "test", "text": "Hello"}',
    )

    def clean(self) -> dict[str, Any]:
        if self.cleaned_data.get("kind") == "json" and "text" in self.cleaned_data:
            try:
                self.cleaned_data["data"] = msgspec.json.decode(self.cleaned_data["text"])
            except (msgspec.DecodeError, RecursionError) as error:
                self.add_error("text", f"This is no JSON: {error}.")
        else:
            self.cleaned_data["data"] = self.cleaned_data.get("text")
        return self.cleaned_data


@admin.register(Connection)
class ConnectionAdmin(_ModelAdmin):
    """Connections are in no table: every view is its own."""

    def has_add_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        views: tuple[tuple[str, str, Callable[..., HttpResponse]], ...] = (
            ("", "changelist", self.changelist_view),
            ("disconnect/", "disconnect", self.disconnect_view),
            ("send/", "send", self.send_view),
        )
        return [
            path(route, self.admin_site.admin_view(view), name=f"wsadapter_connection_{name}")
            for route, name, view in views
        ]

    # The list

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        require(request, VIEW)
        query = Query.of(request.GET)
        try:
            seen, listing, trouble = nodes(), find(query), ""
        except StoreUnavailable as error:
            seen, listing, trouble = (), Listing(()), str(error)
        context = {
            "title": "Connections",
            "query": query,
            "nodes": seen,
            "total": sum(node.connections for node in seen),
            "listing": listing,
            "trouble": trouble,
            "now": timezone.now(),
            "searches": list(By),
            "socket": get_script_prefix() + LIVE_PATH,
            "may_disconnect": request.user.has_perm(DISCONNECT),
            "may_send": request.user.has_perm(SEND),
            **(extra_context or {}),
        }
        return self._page(request, "connections", context, status=503 if trouble else 200)

    # The actions

    def disconnect_view(self, request: HttpRequest) -> HttpResponse:
        """Asked for with GET it wants to be confirmed."""
        require(request, DISCONNECT)
        target = Target(request.POST if request.method == "POST" else request.GET)
        if not target.fields:
            return self._back(request)
        if request.method != "POST":
            return self._page(request, "disconnect", {"title": "Are you sure?", "target": target})
        try:
            count = target.disconnect()
        except StoreUnavailable as error:
            messages.error(request, str(error))
            return self._back(request)
        logger.info("%s disconnected %s (%d).", request.user, one_line(str(target)), count)
        if count:
            messages.success(request, f"Disconnected {target}: {_counted(count)}.")
        else:
            messages.warning(request, f"Nobody was there any more: {target}.")
        return self._back(request)

    def send_view(self, request: HttpRequest) -> HttpResponse:
        require(request, SEND)
        target = Target(request.POST if request.method == "POST" else request.GET)
        form = MessageForm(request.POST or None)
        if form.is_valid() and self._has_sent(request, target, form):
            return self._back(request)
        context = {"title": f"Send to {target}", "target": target, "form": form}
        return self._page(request, "send", context)

    def _has_sent(self, request: HttpRequest, target: Target, form: MessageForm) -> bool:
        """Send; what stands in the way is shown beside the form."""
        try:
            receipt = target.send(form.cleaned_data["data"])
        except (EncodeError, ReservedType) as error:
            form.add_error("text", str(error))
            return False
        except StoreUnavailable as error:
            form.add_error(None, str(error))
            return False
        logger.info("%s sent a message to %s.", request.user, one_line(str(target)))
        if receipt:
            messages.success(request, f"Sent to {target}.")
        else:
            messages.warning(request, f"Nobody was there any more: {target}.")
        return True

    # Pages

    def _page(
        self, request: HttpRequest, name: str, context: dict[str, Any], status: int = 200
    ) -> HttpResponse:
        request.current_app = self.admin_site.name
        shared = {**self.admin_site.each_context(request), "opts": self.opts}
        return TemplateResponse(
            request,
            f"wsadapter/admin/{name}.html",
            {**shared, **context},
            status=status,
        )

    def _back(self, request: HttpRequest) -> HttpResponse:
        """To the list, as it was left."""
        url = reverse("admin:wsadapter_connection_changelist", current_app=self.admin_site.name)
        fields = Query.of(request.GET).fields
        return HttpResponseRedirect(f"{url}?{urlencode(fields)}" if fields else url)


def require(request: HttpRequest, permission: str) -> None:
    """
    Raises:
        PermissionDenied: the user has not got the permission.
    """
    if not request.user.has_perm(permission):
        raise PermissionDenied


def _counted(connections: int) -> str:
    return f"{connections} connection{'' if connections == 1 else 's'}"
