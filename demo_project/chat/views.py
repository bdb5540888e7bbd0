"""The page of the chat."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache

from demo_project.accounts import NAMES
from demo_project.chat import history
from demo_project.chat.consumers import Chat
from demo_project.chat.flood import MESSAGES, flood
from demo_project.chat.streams import analytics
from demo_project.chat.wire import MAX_LENGTH
from demo_project.excerpt import Excerpt
from demo_project.tokens import sign


@never_cache
def chat(request: HttpRequest) -> HttpResponse:
    """As the person that the address names, else as whoever has logged in."""
    name = request.GET.get("as", request.user.get_username())
    people = get_user_model().objects.filter(username__in=NAMES).order_by("username")
    me = next((person for person in people if person.username == name), None)
    return render(
        request,
        "chat/chat.html",
        {
            "me": me and {"name": me.username, "token": sign(me), "moderator": me.is_staff},
            "people": people,
            "max_length": MAX_LENGTH,
            "flood_messages": MESSAGES,
            "codes": CODES,
        },
    )


CODES = [
    ("Saying something", Excerpt(history.say)),
    ("Removing it", Excerpt(Chat.remove)),
    ("The flood", Excerpt(flood)),
    ("The figures", Excerpt(analytics.function)),
]
