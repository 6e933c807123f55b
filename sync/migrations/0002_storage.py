"""What is compressed already is not to be compressed again: PostgreSQL would try each time, and fail."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("sync", "0001_initial")]

    operations = [
        migrations.RunSQL(
            f"ALTER TABLE {table} ALTER COLUMN data SET STORAGE EXTERNAL",
            f"ALTER TABLE {table} ALTER COLUMN data SET STORAGE EXTENDED",
        )
        for table in ("sync_blob", "sync_body")
    ]
