"""What could not work for any client is refused as the routes are loaded."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from wsadapter import Connection, HealthPolicy, Overflow, RateLimit, websocket
from wsadapter.attributes import check_attributes
from wsadapter.conf import RULES
from wsadapter.consumers import AdapterConsumer
from wsadapter.endpoints import Options


async def talk(connection: Connection) -> None:
    """Nothing to say."""


WRONG = [
    ("heartbeat_interval", 0),
    ("heartbeat_interval", -1),
    ("heartbeat_interval", "x"),
    ("heartbeat_timeout", float("inf")),
    ("heartbeat_mode", "often"),
    ("allow_anonymous", "no"),
    ("max_message_size", "1"),
    ("max_outbox_size", 0),
    ("origins", "https://x.example"),
    ("origins", 5),
    ("overflow", "close"),
    ("rate_limit", 5),
    ("health", 5),
    ("welcome", "yes"),
    ("pushes", 1),
    ("compression", "deflate"),
    ("groups", "red"),
    ("subprotocols", "json"),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=str)
def test_what_cannot_work_is_named(name: str, value: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"Chat.{name} is .*; set it to "):
        check_attributes(type("Chat", (AdapterConsumer,), {name: value}))


@pytest.mark.parametrize(("name", "value"), WRONG, ids=str)
def test_so_it_is_with_the_options_of_an_endpoint(name: str, value: Any) -> None:
    endpoint = websocket(**{name: value})(talk)
    with pytest.raises(ImproperlyConfigured, match=f"talk.{name} is "):
        endpoint.as_asgi()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("heartbeat_interval", 0.5),
        ("heartbeat_mode", "always"),
        ("allow_anonymous", False),
        ("max_message_size", 1),
        ("origins", ["https://x.example"]),
        ("origins", "*"),
        ("overflow", Overflow.DROP_OLDEST),
        ("rate_limit", RateLimit(5)),
        ("health", HealthPolicy()),
        ("compression", False),
        ("groups", ["red"]),
        ("subprotocols", ("json",)),
    ],
    ids=str,
)
def test_what_can_work_passes(name: str, value: Any) -> None:
    check_attributes(type("Chat", (AdapterConsumer,), {name: value}))


def test_a_class_as_it_is_passes() -> None:
    check_attributes(AdapterConsumer)


def test_every_option_is_looked_at() -> None:
    """But for the one that is a function, which is called."""
    looked_at = {name for name, _ in WRONG}
    assert looked_at == Options.__annotations__.keys() - {"authenticate"}


def test_the_rules_are_those_of_the_settings() -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        check_attributes(type("Chat", (AdapterConsumer,), {"heartbeat_interval": 0}))
    assert RULES["HEARTBEAT_INTERVAL"].expects in str(refused.value)
