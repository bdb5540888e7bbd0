"""System checks: each names the key that is wrong and how to mend it.

E001 unknown key          E002 invalid value            E003 no channel layer
E004 no Redis for presence  E005 lease shorter than two beats   E006 not a dict
W001 any origin allowed   W002 users taken from the request     W003 ALLOW_ANONYMOUS unset
W004 one process only     W005 channels_redis times out against itself
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from django.conf import settings as django_settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags

from wsadapter.conf import RULES, redis_host, settings
from wsadapter.layers.publishing import IN_MEMORY_BACKENDS


def register_all() -> None:
    checks.register(check_settings, Tags.compatibility)
    checks.register(check_layer, Tags.compatibility)
    checks.register(check_deployment, Tags.security, deploy=True)


def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Each key of WSADAPTER against the table of rules."""
    given: Any = getattr(django_settings, "WSADAPTER", {})
    if not isinstance(given, dict):
        return [
            Error(
                f"WSADAPTER is a {type(given).__name__}.",
                hint='Make it a dict, such as WSADAPTER = {"HEARTBEAT_INTERVAL": 10}.',
                id="wsadapter.E006",
            )
        ]
    found = [message for key, value in given.items() for message in _check_key(key, value)]
    return found or list(_check_lease())


def _check_key(key: Any, value: Any) -> Iterator[CheckMessage]:
    if key not in RULES:
        close = difflib.get_close_matches(str(key), RULES, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"The keys are: {', '.join(RULES)}."
        yield Error(f"WSADAPTER has an unknown key {key!r}.", hint=hint, id="wsadapter.E001")
    elif not RULES[key].valid(value):
        yield Error(
            f'WSADAPTER["{key}"] is {_shown(key, value)}.',
            hint=f'Set WSADAPTER["{key}"] to {RULES[key].expects}; '
            f"the default is {RULES[key].default!r}.",
            id="wsadapter.E002",
        )


def _shown(key: str, value: Any) -> str:
    # What was meant as a URL may hold a password.
    return "not the URL of a Redis" if key == "REDIS_URL" else repr(value)


def _check_lease() -> Iterator[CheckMessage]:
    if settings.lease_seconds < 2 * settings.beat_seconds:
        yield Error(
            f'WSADAPTER["LEASE_SECONDS"] ({settings.lease_seconds:g}) is less than two '
            f"BEAT_SECONDS ({settings.beat_seconds:g}).",
            hint="One late beat would end the lease. Set LEASE_SECONDS to three BEAT_SECONDS.",
            id="wsadapter.E005",
        )


def check_layer(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """There is a channel layer, and a Redis for presence where processes share one."""
    backend = _backend()
    if backend is None:
        return [
            Error(
                f"CHANNEL_LAYERS has no {settings.channel_layer!r}.",
                hint='Set CHANNEL_LAYERS = {"default": {"BACKEND": '
                '"wsadapter.layers.RedisChannelLayer", "CONFIG": {"hosts": '
                '["redis://localhost:6379/0"]}}}, or name another alias in '
                'WSADAPTER["CHANNEL_LAYER"].',
                id="wsadapter.E003",
            )
        ]
    if backend not in IN_MEMORY_BACKENDS and redis_host() is None:
        return [
            Error(
                f"The channel layer {backend} reaches other processes, but no Redis is known "
                "in which they could share who is online.",
                hint='Set WSADAPTER["REDIS_URL"], such as "redis://localhost:6379/0".',
                id="wsadapter.E004",
            )
        ]
    return list(_check_core_layer(backend))


def _check_core_layer(backend: str) -> Iterator[CheckMessage]:
    if backend != "channels_redis.core.RedisChannelLayer":
        return
    import redis

    if int(redis.__version__.split(".")[0]) < 8 or _sets_socket_timeout():
        return
    yield checks.Warning(
        "channels_redis' core layer waits 5 seconds for a message, which is also redis-py's "
        "default socket timeout: idle connections time out again and again.",
        hint='Give each host {"address": ..., "socket_timeout": 10}, or use '
        "wsadapter.layers.RedisChannelLayer.",
        id="wsadapter.W005",
    )


def _sets_socket_timeout() -> bool:
    hosts = _layer_config().get("CONFIG", {}).get("hosts") or [None]
    return all(isinstance(host, dict) and "socket_timeout" in host for host in hosts)


def check_deployment(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """What is fine on a laptop and unsafe, or too small, in production."""
    return [*_check_origins(), *_check_users(), *_check_processes()]


def _check_origins() -> Iterator[CheckMessage]:
    allowed = settings.given.get("ALLOWED_ORIGINS")
    if allowed == "*" or (isinstance(allowed, list | tuple | set) and "*" in allowed):
        yield checks.Warning(
            'WSADAPTER["ALLOWED_ORIGINS"] allows any origin: every website can open '
            "connections in the name of your users.",
            hint='List the origins, such as ["https://shop.example"].',
            id="wsadapter.W001",
        )


def _check_users() -> Iterator[CheckMessage]:
    if settings.given.get("USER_ID_FROM") is not None:
        yield checks.Warning(
            f'WSADAPTER["USER_ID_FROM"] is {settings.user_id_from!r}: whoever can reach the '
            "server can be any user.",
            hint="Keep it only behind a gateway that sets this value itself and removes what "
            "clients send.",
            id="wsadapter.W002",
        )
    if "ALLOW_ANONYMOUS" not in settings.given:
        yield checks.Warning(
            'WSADAPTER["ALLOW_ANONYMOUS"] is not set: visitors who are not logged in can '
            "connect and get what is broadcast.",
            hint="Set it to True if that is meant, or to False.",
            id="wsadapter.W003",
        )


def _check_processes() -> Iterator[CheckMessage]:
    backend = _backend()
    if backend in IN_MEMORY_BACKENDS:
        yield checks.Warning(
            f"The channel layer {backend} reaches one process only: Celery, other server "
            "processes and commands reach nobody.",
            hint="Use wsadapter.layers.RedisChannelLayer.",
            id="wsadapter.W004",
        )


def _layer_config() -> dict[str, Any]:
    layers: dict[str, dict[str, Any]] = getattr(django_settings, "CHANNEL_LAYERS", {})
    return layers.get(settings.channel_layer, {})


def _backend() -> str | None:
    return _layer_config().get("BACKEND")
