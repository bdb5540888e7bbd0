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

Rule = tuple[Callable[[Any], bool], str]


def is_count(value: object) -> bool:
    """Whether it is a whole number from 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _instance_of(kind: type) -> Rule:
    return lambda value: value is None or isinstance(value, kind), f"an instance of {kind.__name__}"


def _mapping(is_right: Callable[[Any, Any], bool], expects: str) -> Rule:
    def are_right(value: Any) -> bool:
        return isinstance(value, Mapping) and all(is_right(*item) for item in value.items())

    return are_right, f"a dict from {expects}"


def _is_limit(type: Any, limit: Any) -> bool:
    return isinstance(type, str) and isinstance(limit, RateLimit)


def _is_meaning(error: Any, meaning: Any) -> bool:
    if not (isinstance(error, type) and issubclass(error, BaseException)):
        return False
    if isinstance(meaning, type):
        return issubclass(meaning, Failure) and meaning is not Failure
    return callable(meaning) and not iscoroutinefunction(meaning)


def _is_list_of_texts(value: Any) -> bool:
    if value is None or hasattr(value, "__get__"):  # a property: only an instance has a value
        return True
    if isinstance(value, str) or not isinstance(value, Collection):
        return False
    return all(isinstance(each, str) for each in value)


_LIST_OF_TEXTS: Rule = (_is_list_of_texts, "a list of texts")

_RULES: dict[str, Rule] = {
    "inbox_size": (is_count, "a whole number from 1"),
    "batch": _instance_of(Batch),
    "overflow": _instance_of(Overflow),
    "rate_limit": _instance_of(RateLimit),
    "health": _instance_of(HealthPolicy),
    "welcome": _instance_of(bool),
    "pushes": _instance_of(bool),
    "announce_members": _instance_of(bool),
    "rate_limits": _mapping(_is_limit, "message types to RateLimit"),
    "errors": _mapping(
        _is_meaning,
        "exceptions to Transient, Exhausted, Fatal, or sync functions that return one",
    ),
    "groups": _LIST_OF_TEXTS,
    "subprotocols": _LIST_OF_TEXTS,
    "views": _LIST_OF_TEXTS,
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
    for name, (is_right, expects) in _RULES.items():
        if hasattr(consumer, name) and not is_right(getattr(consumer, name)):
            raise _wrong(consumer, name, expects)


def _wrong(consumer: type, name: str, expects: str) -> ImproperlyConfigured:
    value: Any = getattr(consumer, name)
    return ImproperlyConfigured(f"{consumer.__name__}.{name} is {value!r}; set it to {expects}.")
