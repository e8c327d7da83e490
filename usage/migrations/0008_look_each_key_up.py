"""`usage_record` looks each request id up by its key, whatever the planner knows."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "sql" / "usage_record.sql"


class Migration(migrations.Migration):
    dependencies = [("usage", "0007_longer_period_keys")]

    operations = [migrations.RunSQL(SQL.read_text(), migrations.RunSQL.noop)]
