"""`usage_record` looks at the counter's `next_threshold_at`."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "sql" / "usage_record.sql"


class Migration(migrations.Migration):
    dependencies = [
        ("usage", "0004_find_a_request_id_by_its_own_index"),
        ("quotas", "0008_arm_thresholds"),
    ]
    operations = [migrations.RunSQL(SQL.read_text(), migrations.RunSQL.noop)]
