"""What the admin lists like a model: no table is behind it, only permissions."""

from __future__ import annotations

from django.db import models


class Connection(models.Model):
    """A connection that is open now; who may do what with it in the admin."""

    client_id = models.CharField(primary_key=True, max_length=128)

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions = (
            ("disconnect_connection", "Can disconnect connections"),
            ("send_connection", "Can send to connections"),
        )

    def __str__(self) -> str:
        return self.client_id
