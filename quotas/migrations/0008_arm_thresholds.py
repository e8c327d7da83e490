"""The trigger that keeps `next_threshold_at` (quotas/sql), and facts that stay."""

from pathlib import Path

from django.db import migrations

from config.contract.grants import insert_only

SQL = Path(__file__).resolve().parent.parent / "sql" / "arm_thresholds.sql"


class Migration(migrations.Migration):
    dependencies = [("quotas", "0007_thresholds")]
    operations = [
        insert_only("quotas_thresholdcrossed", but="told_at"),
        migrations.RunSQL(SQL.read_text(), "DROP FUNCTION quotas_arm_thresholds CASCADE"),
        # Computed by the trigger, for the counters that are there already.
        migrations.RunSQL(
            "UPDATE quotas_usagecounter SET next_threshold_at = NULL WHERE closed_at IS NULL",
            migrations.RunSQL.noop,
        ),
    ]
