"""Who is where is known to wsadapter."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("chat", "0001_initial")]

    operations = [migrations.DeleteModel(name="Seat")]
