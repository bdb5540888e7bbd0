"""The class attributes of consumers and the options of endpoints, held against their rules."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured

from wsadapter.conf import RULES
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
    "origins": "ALLOWED_ORIGINS",
}

_TYPES = {
    "overflow": Overflow,
    "rate_limit": RateLimit,
    "health": HealthPolicy,
    "welcome": bool,
    "pushes": bool,
    "compression": bool,
}

_LISTS = ("groups", "subprotocols")


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
    for name in _LISTS:
        if isinstance(getattr(consumer, name, ()), str):
            raise _wrong(consumer, name, "a list of texts")


def _wrong(consumer: type, name: str, expects: str) -> ImproperlyConfigured:
    value: Any = getattr(consumer, name)
    return ImproperlyConfigured(f"{consumer.__name__}.{name} is {value!r}; set it to {expects}.")
