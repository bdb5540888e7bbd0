"""The settings of both; what differs between runs comes from the environment."""

from __future__ import annotations

import json
import os
from typing import Any

REDIS_URL = os.environ.get("BENCHMARK_REDIS_URL", "redis://127.0.0.1:6379/0")

DEBUG = False
SECRET_KEY = "only for the benchmark"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "channels",
    "wsadapter",
    *json.loads(os.environ.get("BENCHMARK_APPS", "[]")),
]
ROOT_URLCONF = "benchmarks.systems.channels_site.urls"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("BENCHMARK_DATABASE", ":memory:"),
        "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL;"},
    }
}
# Sessions are in the database, without a cache: the default, and the same work for both.
SESSION_ENGINE = "django.contrib.sessions.backends.db"

LAYERS: dict[str, dict[str, Any]] = {
    "wsadapter": {
        "BACKEND": "wsadapter.layers.RedisChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL]},
    },
    "pubsub": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL]},
    },
    "core": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        # It waits five seconds in Redis, and redis-py 8 gives up after five.
        "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": 60}]},
    },
    "memory": {"BACKEND": "channels.layers.InMemoryChannelLayer"},
}
CHANNEL_LAYERS = {"default": LAYERS[os.environ.get("BENCHMARK_LAYER", "wsadapter")]}

WSADAPTER = json.loads(os.environ.get("BENCHMARK_WSADAPTER", "{}"))

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}
