"""The settings of tests/project in processes of its own; what differs comes from the environment.

DATABASE    path of the SQLite file that the processes share
REDIS_URL   the layer's Redis, and Celery's broker
LAYER       one of the names in LAYERS
WSADAPTER   the setting of that name, as JSON
"""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403

REDIS_URL = os.environ.get("REDIS_URL", "")

# channels_redis.core waits five seconds in Redis, and redis-py 8 gives up after five.
PATIENT_HOST = {"address": REDIS_URL, "socket_timeout": 15}

LAYERS = {
    "wsadapter-redis": ("wsadapter.layers.RedisChannelLayer", {"hosts": [REDIS_URL]}),
    "wsadapter-memory": ("wsadapter.layers.InMemoryChannelLayer", {}),
    "channels-pubsub": ("channels_redis.pubsub.RedisPubSubChannelLayer", {"hosts": [REDIS_URL]}),
    "channels-core": ("channels_redis.core.RedisChannelLayer", {"hosts": [PATIENT_HOST]}),
    "channels-memory": ("channels.layers.InMemoryChannelLayer", {}),
}

backend, config = LAYERS[os.environ.get("LAYER", "wsadapter-memory")]
CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}

# Who stops a server does not wait for its clients to leave, unless that is what is tested.
WSADAPTER = {"DRAIN_SECONDS": 0, **json.loads(os.environ.get("WSADAPTER", "{}"))}

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["DATABASE"],
        # Several processes write to the one file: wait for one another from the first statement.
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    }
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}

CELERY_BROKER_URL = CELERY_RESULT_BACKEND = REDIS_URL
