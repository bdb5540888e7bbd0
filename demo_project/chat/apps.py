"""The Django app."""

from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "demo_project.chat"
