"""The class attributes of consumers and the options of endpoints, held against their rules."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured

from wsadapter.conf import RULES
from wsadapter.errors import Failure
from wsadapter.wire.batches import Batch
from wsadapter.wire.health import HealthPolicy
from wsadapter.wire.limits import RateLimit
from wsadapter.wire.outbox import Overflow

#: Attributes that stand in for a setting are valid as that is.
_AS_SETTINGS = {
    "heartbeat_interval": "HEARTBEAT_INTERVAL",
    "heartbeat_timeout": "HEARTBEAT_TIMEOUT",
    "heartbeat_mode": "HEARTBEAT",
    "allow_anonymous": "ALLOW_ANONYMOUS",
    "max_message_size": "MAX_MESSAGE_SIZE",
    "max_outbox_size": "MAX_OUTBOX_SIZE",
    "priorities": "PRIORITIES",
    "origins": "ALLOWED_ORIGINS",
    "compression": "COMPRESSION",
}

_TYPES = {
    "batch": Batch,
    "overflow": Overflow,
    "rate_limit": RateLimit,
    "health": HealthPolicy,
    "welcome": bool,
    "pushes": bool,
}

_LISTS = ("groups", "subprotocols", "views")

#: With what their keys and values have to be.
_MAPPINGS: dict[str, tuple[Callable[[Mapping[Any, Any]], bool], str]] = {
    "rate_limits": (
        lambda value: all(_is_limit(*item) for item in value.items()),
        "a dict from message types to RateLimit",
    ),
    "errors": (
        lambda value: all(_is_meaning(*item) for item in value.items()),
        "a dict from exceptions to Transient, Exhausted, Fatal, or sync functions that return one",
    ),
}


def check_attributes(consumer: type) -> None:
    """Let fail as the routes are loaded what would fail for each client.

    Raises:
        ImproperlyConfigured: an attribute has a value that cannot work.
    """
    for name, key in _AS_SETTINGS.items():
        value = getattr(consumer, name, None)
        if value is not None and not RULES[key].valid(value):
            raise _wrong(consumer, name, RULES[key].expects)
    for name, kind in _TYPES.items():
        value = getattr(consumer, name, None)
        if value is not None and not isinstance(value, kind):
            raise _wrong(consumer, name, f"an instance of {kind.__name__}")
    for name, (are_right, expects) in _MAPPINGS.items():
        value = getattr(consumer, name, {})
        if not (isinstance(value, Mapping) and are_right(value)):
            raise _wrong(consumer, name, expects)
    for name in _LISTS:
        value = getattr(consumer, name, None)
        if not (value is None or _is_computed(value) or _are_texts(value)):
            raise _wrong(consumer, name, "a list of texts")


def _is_computed(value: Any) -> bool:
    """Whether it is a property, which only an instance has a value for."""
    return hasattr(value, "__get__")


def _are_texts(value: Any) -> bool:
    if isinstance(value, str) or not isinstance(value, Collection):
        return False
    return all(isinstance(each, str) for each in value)


def _is_limit(type: Any, limit: Any) -> bool:
    return isinstance(type, str) and isinstance(limit, RateLimit)


def _is_meaning(error: Any, meaning: Any) -> bool:
    if not (isinstance(error, type) and issubclass(error, BaseException)):
        return False
    if isinstance(meaning, type):
        return issubclass(meaning, Failure) and meaning is not Failure
    return callable(meaning) and not iscoroutinefunction(meaning)


def _wrong(consumer: type, name: str, expects: str) -> ImproperlyConfigured:
    value: Any = getattr(consumer, name)
    return ImproperlyConfigured(f"{consumer.__name__}.{name} is {value!r}; set it to {expects}.")
