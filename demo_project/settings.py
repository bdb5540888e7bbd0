"""Settings of the demo: a development project for the loopback interface, never for deployment.

Alone (`python manage.py runserver`) it is one process with everything in memory. The supervisor
(`sh scripts/demo`) starts several processes with the variables below in their environment.

REDIS_URL         the Redis of the channel layer, of presence and of Celery
DEMO_DATABASE     the SQLite file
DEMO_SECRET_KEY   one for all processes of a run
DEMO_SUPERVISED   set: the parent process restarts a killed server and can stop Redis
"""

from __future__ import annotations

import os
from pathlib import Path

from wsadapter import Priority

BASE_DIR = Path(__file__).resolve().parent.parent

REDIS_URL = os.environ.get("REDIS_URL")
SUPERVISED = "DEMO_SUPERVISED" in os.environ

SECRET_KEY = os.environ.get("DEMO_SECRET_KEY", "no-secret: this project answers the loopback only")
DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "demo_project",  # before daphne: its runserver says what one process cannot do
    "demo_project.chat",
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "wsadapter",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

ROOT_URLCONF = "demo_project.urls"
ASGI_APPLICATION = "demo_project.asgi.application"
WSGI_APPLICATION = "demo_project.wsgi.application"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DEMO_DATABASE", BASE_DIR / "demo.sqlite3"),
        # Two processes write. One that began by reading could not wait for the other.
        "OPTIONS": {"transaction_mode": "IMMEDIATE"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "page"
LOGOUT_REDIRECT_URL = "page"

STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "UTC"

if REDIS_URL:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "wsadapter.layers.RedisChannelLayer",
            "CONFIG": {"hosts": [REDIS_URL]},
        }
    }
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "wsadapter.layers.InMemoryChannelLayer"}}

# Short, so that one need not wait long to see the count put itself right after kill -9.
WSADAPTER = {
    "LEASE_SECONDS": 6,
    "BEAT_SECONDS": 2,
    "DRAIN_SECONDS": 1,  # whoever stops the demo does not want to wait
    "PRIORITIES": {"chat.typing": Priority.LOW},
}

STATISTICS_SECONDS = 2.0

CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # for ever: Redis is stopped on purpose here
CELERY_BEAT_SCHEDULE = {
    "statistics": {
        "task": "demo_project.tasks.publish_statistics",
        "schedule": STATISTICS_SECONDS,
        "options": {"expires": STATISTICS_SECONDS},  # after an outage: the next one, not all
    }
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {"wsadapter": {"handlers": ["console"], "level": "INFO"}},
}
