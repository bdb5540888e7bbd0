"""The permissions of the admin's page; no table."""

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    operations = [
        migrations.CreateModel(
            name="Connection",
            fields=[
                ("client_id", models.CharField(max_length=128, primary_key=True, serialize=False)),
            ],
            options={
                "permissions": (
                    ("disconnect_connection", "Can disconnect connections"),
                    ("send_connection", "Can send to connections"),
                ),
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
    ]
