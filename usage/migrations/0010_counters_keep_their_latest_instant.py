"""`usage_record` never moves a counter's `updated_at` back."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "sql" / "usage_record.sql"


class Migration(migrations.Migration):
    dependencies = [("usage", "0009_denied_by_day")]
    operations = [migrations.RunSQL(SQL.read_text(), migrations.RunSQL.noop)]
