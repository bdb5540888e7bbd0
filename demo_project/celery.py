"""The Celery application; worker and beat are started with `celery -A demo_project`."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_project.settings")

app = Celery("demo_project", include=["demo_project.tasks"])
app.config_from_object("django.conf:settings", namespace="CELERY")
