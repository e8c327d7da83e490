"""What is carried out of a period that is over does not cross a threshold of it."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "sql" / "arm_thresholds.sql"


class Migration(migrations.Migration):
    dependencies = [("quotas", "0012_counters_due")]
    operations = [migrations.RunSQL(SQL.read_text(), migrations.RunSQL.noop)]
