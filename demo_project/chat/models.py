"""What the database keeps: rooms, and what was said in them."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Room(models.Model):
    slug = models.SlugField(unique=True)
    title = models.CharField(max_length=80)
    topic = models.CharField(max_length=160)
    #: The number of the newest message; numbers begin at one, and none is left out.
    last_sequence = models.PositiveIntegerField(default=0)
    last_activity = models.DateTimeField()

    class Meta:
        app_label = "chat"
        ordering = ["-last_activity"]

    def __str__(self) -> str:
        return self.title


class Message(models.Model):
    room = models.ForeignKey(Room, models.CASCADE, related_name="messages")
    sequence = models.PositiveIntegerField()
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    text = models.TextField()
    sent_at = models.DateTimeField(db_index=True)
    #: The moderator who took it away; nobody gets to see its text any more.
    removed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )

    class Meta:
        app_label = "chat"
        ordering = ["sequence"]
        constraints = [
            models.UniqueConstraint(fields=["room", "sequence"], name="one_message_per_number")
        ]

    def __str__(self) -> str:
        return f"{self.room_id} #{self.sequence}"
