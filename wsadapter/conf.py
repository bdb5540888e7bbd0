"""The settings: one dict, ``WSADAPTER``, read lazily, so that ``override_settings`` works.

`RULES` is the whole list: each key's default and what is valid for it. The system checks
hold the dict of a project against it; `settings` gives the values their types.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

from channels.layers import get_channel_layer
from channels_redis.utils import decode_hosts
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from wsadapter.layers.publishing import is_in_memory
from wsadapter.redis_pool import RedisPool, pool_for
from wsadapter.store import MemoryStore, RedisStore
from wsadapter.wire.heartbeat import HeartbeatMode
from wsadapter.wire.lanes import Priority
from wsadapter.wire.priorities import Priorities

OriginRule = Callable[[str, Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Rule:
    """One key of ``WSADAPTER``: its default, and what a valid value is, in words and code."""

    default: Any
    expects: str
    valid: Callable[[Any], bool]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _positive(default: float) -> Rule:
    return Rule(
        default,
        "a positive number of seconds",
        lambda value: _number(value) and 0 < value < math.inf,
    )


def _duration(default: float) -> Rule:
    return Rule(
        default,
        "a number of seconds, or 0",
        lambda value: _number(value) and 0 <= value < math.inf,
    )


def _size(default: int, what: str) -> Rule:
    return Rule(
        default,
        f"a positive whole number of {what}",
        _is_size,
    )


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _flag(default: bool) -> Rule:
    return Rule(default, "True or False", lambda value: isinstance(value, bool))


def _is_level(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 9


def _source() -> Rule:
    return Rule(None, '"query:<name>", "header:<name>" or None', _is_source)


def _is_source(value: Any) -> bool:
    if value is None:
        return True
    kind, _, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    return kind in ("query", "header") and bool(name)


def _are_origins(value: Any) -> bool:
    if callable(value) or value == "*" or value is None:
        return True
    if isinstance(value, str):
        return _is_path_of_callable(value)
    return isinstance(value, Collection) and all(
        isinstance(origin, str) and (origin == "*" or "://" in origin) for origin in value
    )


def _are_priorities(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(kind, str) and kind and isinstance(priority, Priority)
        for kind, priority in value.items()
    )


def _is_path_of_callable(path: str) -> bool:
    try:
        return callable(import_string(path))
    except ImportError:
        return False


RULES: dict[str, Rule] = {
    "HEARTBEAT": Rule(
        "auto",
        '"auto", "always" or "never"',
        lambda value: value in [mode.value for mode in HeartbeatMode],
    ),
    "HEARTBEAT_INTERVAL": _positive(10),
    "HEARTBEAT_TIMEOUT": _positive(10),
    "ALLOWED_ORIGINS": Rule(
        (),
        'a list of origins such as "https://shop.example", a callable (origin, scope) -> bool, '
        'its dotted path, or "*"',
        _are_origins,
    ),
    "ALLOW_NO_ORIGIN": _flag(True),
    "ALLOW_ANONYMOUS": _flag(True),
    "USER_ID_FROM": _source(),
    "CLIENT_ID_FROM": _source(),
    "MAX_MESSAGE_SIZE": _size(64 * 1024, "bytes"),
    "MAX_OUTBOX_SIZE": _size(1024 * 1024, "bytes"),
    "PRIORITIES": Rule(
        {},
        'a dict from message types to priorities, such as {"chat.typing": Priority.LOW}',
        _are_priorities,
    ),
    "PREPARED_FRAMES": _flag(True),
    "JOIN_FRAMES": _flag(True),
    "COMPRESSION": Rule(
        False,
        "True, False or a whole number from 1 (fast) to 9 (small)",
        lambda value: isinstance(value, bool) or _is_level(value),
    ),
    "COMPRESSION_LEVEL": Rule(1, "a whole number from 1 (fast) to 9 (small)", _is_level),
    "CHANNEL_LAYER": Rule(
        "default",
        "the alias of an entry in CHANNEL_LAYERS",
        lambda value: isinstance(value, str) and bool(value),
    ),
    "REDIS_URL": Rule(
        None,
        'a URL such as "redis://localhost:6379/0", or None',
        lambda value: (
            value is None
            or (isinstance(value, str) and value.startswith(("redis://", "rediss://", "unix://")))
        ),
    ),
    "REDIS_TIMEOUT": _positive(2),
    "REDIS_POOL_SIZE": _size(20, "connections"),
    "KEY_PREFIX": Rule(
        "{wsadapter}",
        'a text with a literal hash tag, such as "{shop}"',
        lambda value: isinstance(value, str) and 0 <= value.find("{") < value.find("}") - 1,
    ),
    "LEASE_SECONDS": _positive(15),
    "BEAT_SECONDS": _positive(5),
    "GRACE_SECONDS": _duration(5),
    "DRAIN_SECONDS": _duration(8),
    "MAX_CONNECTIONS": Rule(
        None,
        "a positive whole number of connections, or None",
        lambda value: value is None or _is_size(value),
    ),
}


class Settings:
    """``WSADAPTER`` with defaults and types. Every property reads the setting anew."""

    @property
    def given(self) -> Mapping[str, Any]:
        """The project's dict as it stands; a system check tells when it is no dict."""
        given = getattr(django_settings, "WSADAPTER", None)
        return given if isinstance(given, Mapping) else {}

    def _get(self, key: str) -> Any:
        given = self.given
        return given[key] if key in given else RULES[key].default

    @property
    def heartbeat(self) -> HeartbeatMode:
        return HeartbeatMode(self._get("HEARTBEAT"))

    @property
    def heartbeat_interval(self) -> float:
        """Seconds of silence before a ping."""
        return float(self._get("HEARTBEAT_INTERVAL"))

    @property
    def heartbeat_timeout(self) -> float:
        """Seconds to wait for an answer to a ping."""
        return float(self._get("HEARTBEAT_TIMEOUT"))

    @property
    def allowed_origins(self) -> Collection[str] | OriginRule:
        return origins(self._get("ALLOWED_ORIGINS"))

    @property
    def allow_no_origin(self) -> bool:
        return bool(self._get("ALLOW_NO_ORIGIN"))

    @property
    def allow_anonymous(self) -> bool:
        return bool(self._get("ALLOW_ANONYMOUS"))

    @property
    def user_id_from(self) -> str | None:
        return cast("str | None", self._get("USER_ID_FROM"))

    @property
    def client_id_from(self) -> str | None:
        return cast("str | None", self._get("CLIENT_ID_FROM"))

    @property
    def max_message_size(self) -> int:
        """Bytes; a larger message from a browser ends its connection."""
        return int(self._get("MAX_MESSAGE_SIZE"))

    @property
    def max_outbox_size(self) -> int:
        """Bytes that may wait for one connection."""
        return int(self._get("MAX_OUTBOX_SIZE"))

    @property
    def priorities(self) -> Priorities:
        """The lanes of message types, where a call names none."""
        return cast("Priorities", self._get("PRIORITIES"))

    @property
    def prepared_frames(self) -> bool:
        """Whether pushes are written as ready frames where the server takes them."""
        return bool(self._get("PREPARED_FRAMES"))

    @property
    def join_frames(self) -> bool:
        """Whether those of one turn of the event loop are written in one piece."""
        return bool(self._get("JOIN_FRAMES"))

    @property
    def compression(self) -> bool | int:
        """Whether connections compress, as `compression_level` takes it."""
        return cast("bool | int", self._get("COMPRESSION"))

    @property
    def compression_level(self) -> int:
        """zlib's, where compression is on and nothing says which one."""
        return int(self._get("COMPRESSION_LEVEL"))

    @property
    def channel_layer(self) -> str:
        """The alias in ``CHANNEL_LAYERS``."""
        return str(self._get("CHANNEL_LAYER"))

    @property
    def redis_url(self) -> str | None:
        return cast("str | None", self._get("REDIS_URL"))

    @property
    def redis_timeout(self) -> float:
        """Seconds."""
        return float(self._get("REDIS_TIMEOUT"))

    @property
    def redis_pool_size(self) -> int:
        return int(self._get("REDIS_POOL_SIZE"))

    @property
    def key_prefix(self) -> str:
        return str(self._get("KEY_PREFIX"))

    @property
    def lease_seconds(self) -> float:
        return float(self._get("LEASE_SECONDS"))

    @property
    def beat_seconds(self) -> float:
        return float(self._get("BEAT_SECONDS"))

    @property
    def grace_seconds(self) -> float:
        """For how long somebody is away before it is said."""
        return float(self._get("GRACE_SECONDS"))

    @property
    def drain_seconds(self) -> float:
        """The time over which a process that stops lets its clients go."""
        return float(self._get("DRAIN_SECONDS"))

    @property
    def max_connections(self) -> int | None:
        """How many connections a process takes, or None for as many as come."""
        return cast("int | None", self._get("MAX_CONNECTIONS"))


settings = Settings()


def origins(value: Any) -> Collection[str] | OriginRule:
    """What `ALLOWED_ORIGINS`, or an ``origins`` of a class, stands for."""
    if isinstance(value, str) and value != "*":
        return cast("OriginRule", import_string(value))
    if value is None or isinstance(value, str):
        return [value] if value else []
    return cast("Collection[str] | OriginRule", value)


def compression_level(value: bool | int | None) -> int:
    """zlib's level that `COMPRESSION`, or a ``compression`` of a class, stands for; 0 for none."""
    given = settings.compression if value is None else value
    return settings.compression_level if given is True else int(given)


def layer() -> Any:
    """The project's channel layer.

    Raises:
        ImproperlyConfigured: there is none under the alias.
    """
    found = get_channel_layer(settings.channel_layer)
    if found is None:
        raise ImproperlyConfigured(
            f"CHANNEL_LAYERS has no {settings.channel_layer!r}. Configure one, such as "
            '{"default": {"BACKEND": "wsadapter.layers.InMemoryChannelLayer"}}.'
        )
    return found


def redis_pool() -> RedisPool | None:
    """Where presence lives: ``REDIS_URL``, else the layer's first host, else nowhere."""
    host = redis_host()
    if host is None:
        return None
    return pool_for(
        host,
        timeout_seconds=settings.redis_timeout,
        max_connections=settings.redis_pool_size,
    )


def redis_host() -> Mapping[str, Any] | None:
    """The Redis of presence, as channels_redis writes a host, or None without one."""
    if settings.redis_url is not None:
        return {"address": settings.redis_url}
    layers: Mapping[str, Any] = getattr(django_settings, "CHANNEL_LAYERS", {})
    configured = layers.get(settings.channel_layer, {})
    hosts = configured.get("CONFIG", {}).get("hosts")
    if hosts is None and not configured.get("BACKEND", "").startswith(_REDIS_LAYERS):
        return None
    return cast("Mapping[str, Any]", decode_hosts(hosts)[0])


#: Layers that are on Redis at its default address when no hosts are given.
_REDIS_LAYERS = ("wsadapter.layers.Redis", "wsadapter.layers.redis.", "channels_redis.")

_stores: dict[str, RedisStore | MemoryStore] = {}
_stores_lock = threading.Lock()


def store() -> RedisStore | MemoryStore:
    """What all processes share: in Redis where there is one, else in this process.

    Raises:
        ImproperlyConfigured: the layer reaches other processes and no Redis is known.
    """
    with _stores_lock:  # two memory stores would each know half of the connections
        if "store" not in _stores:
            _stores["store"] = _make_store()
        return _stores["store"]


def _make_store() -> RedisStore | MemoryStore:
    pool = redis_pool()
    if pool is not None:
        return RedisStore(pool, settings.key_prefix)
    if is_in_memory(layer()):
        return MemoryStore()
    raise ImproperlyConfigured(
        'Presence needs Redis: set WSADAPTER["REDIS_URL"], or give the channel layer "hosts".'
    )


def _forget_store(*, setting: str, **kwargs: Any) -> None:
    if setting in ("WSADAPTER", "CHANNEL_LAYERS"):
        _stores.clear()


setting_changed.connect(_forget_store)
