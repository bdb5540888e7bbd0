"""celery --app tests.project.celery worker"""

from __future__ import annotations

from celery import Celery

app = Celery("tests.project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["tests.project"])
