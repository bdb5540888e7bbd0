"""What could not work for any client is refused as the routes are loaded."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from wsadapter import (
    Batch,
    Connection,
    Exhausted,
    Failure,
    Fatal,
    HealthPolicy,
    Overflow,
    Priority,
    RateLimit,
    RetriesExhausted,
    Transient,
    websocket,
)
from wsadapter.attributes import check_attributes
from wsadapter.conf import RULES
from wsadapter.consumers import AdapterConsumer
from wsadapter.endpoints import Options


async def talk(connection: Connection) -> None:
    """Nothing to say."""


async def asynchronous(error: Exception) -> Transient:
    return Transient()


def shown(value: object) -> str:
    """The text of a value, without addresses."""
    return re.sub(r" at 0x\w+", "", str(value))


WRONG: list[tuple[str, Any]] = [
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
    ("inbox_size", 0),
    ("inbox_size", True),
    ("inbox_size", "100"),
    ("overflow", "close"),
    ("rate_limit", 5),
    ("health", 5),
    ("welcome", "yes"),
    ("pushes", 1),
    ("announce_members", "yes"),
    ("announce_members", 1),
    ("compression", "deflate"),
    ("groups", "red"),
    ("groups", 5),
    ("subprotocols", "json"),
    ("views", "summary"),
    ("views", 5),
    ("views", [5]),
    ("batch", True),
    ("batch", 100),
    ("batch", Batch),
    ("priorities", Priority.LOW),
    ("priorities", {"chat.typing": "low"}),
    ("priorities", {"chat.typing": 3}),
    ("priorities", {7: Priority.LOW}),
    ("rate_limits", RateLimit(5)),
    ("rate_limits", {"chat.say": 5}),
    ("rate_limits", {7: RateLimit(5)}),
    ("rate_limits", [("chat.say", RateLimit(5))]),
    ("errors", LookupError),
    ("errors", [LookupError]),
    ("errors", {"LookupError": Transient}),
    ("errors", {LookupError(): Transient}),
    ("errors", {int: Transient}),
    ("errors", {LookupError: Failure}),
    ("errors", {LookupError: ValueError}),
    ("errors", {LookupError: Transient()}),
    ("errors", {LookupError: "transient"}),
    ("errors", {LookupError: asynchronous}),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=shown)
def test_what_cannot_work_is_named(name: str, value: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"Chat.{name} is .*; set it to "):
        check_attributes(type("Chat", (AdapterConsumer,), {name: value}))


@pytest.mark.parametrize(("name", "value"), WRONG, ids=shown)
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
        ("announce_members", True),
        ("compression", False),
        ("groups", ["red"]),
        ("groups", None),
        ("groups", property(lambda consumer: [consumer.scope["path"]])),
        ("subprotocols", ("json",)),
        ("views", ("default", "summary")),
        ("views", {"summary": "a dict of them will do"}),
        ("batch", None),
        ("batch", Batch(max_items=5)),
        ("priorities", None),
        ("priorities", {}),
        ("priorities", {"chat.typing": Priority.LOW}),
        ("rate_limits", {"chat.say": RateLimit(5)}),
        ("errors", {LookupError: Transient, BaseException: Fatal, OSError: RetriesExhausted}),
        ("errors", {LookupError: lambda error: Exhausted(retry_after=5)}),
    ],
    ids=shown,
)
def test_what_can_work_passes(name: str, value: Any) -> None:
    check_attributes(type("Chat", (AdapterConsumer,), {name: value}))


@pytest.mark.parametrize("name", ["errors", "rate_limits"])
def test_of_a_consumer_nothing_declared_is_an_empty_dict(name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"Chat.{name} is None; set it to a dict from "):
        check_attributes(type("Chat", (AdapterConsumer,), {name: None}))


ADVICE = {
    "batch": "an instance of Batch",
    "views": "a list of texts",
    "rate_limits": "a dict from message types to RateLimit",
    "errors": "a dict from exceptions to Transient, Exhausted, Fatal, or sync functions that "
    "return one",
}


@pytest.mark.parametrize(("name", "advice"), ADVICE.items())
def test_it_is_said_what_would_do(name: str, advice: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        check_attributes(type("Chat", (AdapterConsumer,), {name: 5}))
    assert str(refused.value) == f"Chat.{name} is 5; set it to {advice}."


def test_it_is_said_as_the_routes_are_loaded() -> None:
    class Chat(AdapterConsumer):
        errors = {LookupError: Failure}

    with pytest.raises(ImproperlyConfigured, match=r"Chat\.errors"):
        Chat.as_asgi()


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
