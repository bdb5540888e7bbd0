"""The settings: what the system checks say, and what the channel layer means."""

from __future__ import annotations

from collections.abc import Iterator

from channels_redis.core import RedisChannelLayer as CoreLayer
from channels_redis.pubsub import RedisPubSubChannelLayer as PubSubLayer
from django.core import checks

from wsadapter import conf
from wsadapter.checks import check_deployment, check_layer, check_settings
from wsadapter.doctor.finding import Finding, Verdict, error, fine, warning
from wsadapter.layers import RedisChannelLayer
from wsadapter.layers.publishing import is_in_memory

#: Said by `layer_kind`, of every layer in memory.
ONE_PROCESS = "wsadapter.W004"


def system_checks() -> Iterator[Finding]:
    """wsadapter's own, those for deployment included."""
    messages = [*check_settings(None), *check_layer(None)]
    if not messages:  # else it would read settings that are wrong
        messages = check_deployment(None)
    messages = [message for message in messages if message.id != ONE_PROCESS]
    if not messages:
        yield fine("settings", "The system checks of wsadapter have nothing to say.")
    for message in messages:
        is_error = message.level >= checks.ERROR
        verdict = Verdict.ERROR if is_error else Verdict.WARNING
        found = f"{message.msg} ({message.id})"
        yield Finding("settings", verdict, found, message.hint or "")


def layer_kind() -> Finding:
    """What the configured channel layer is good for."""
    subject, ours = "channel layer", "wsadapter.layers.RedisChannelLayer"
    try:
        layer = conf.layer()
    except Exception as failure:  # whatever its class raises of its options
        return error(
            subject,
            f"It cannot be made ({type(failure).__name__}: {failure}).",
            "Correct its BACKEND and CONFIG in CHANNEL_LAYERS.",
        )
    name = f"{type(layer).__module__}.{type(layer).__name__}"
    if is_in_memory(layer):
        return warning(
            subject,
            f"{name} reaches one process only: Celery, commands and other servers reach nobody.",
            f"Use {ours}, unless the whole site is one process.",
        )
    if isinstance(layer, RedisChannelLayer):
        return fine(subject, f"{name}: subscribes and decodes once per process.")
    if isinstance(layer, PubSubLayer):
        meaning = "subscribes and decodes for every connection"
    elif isinstance(layer, CoreLayer):
        meaning = "polls Redis for every connection, and drops what does not fit in a mailbox"
    else:
        meaning = "is not known to wsadapter, and is used by its own group_send"
    return warning(subject, f"{name} {meaning}.", f"It works; {ours} does the same faster.")
