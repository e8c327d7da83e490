"""The function that counts (usage/sql/usage_record.sql), and a ledger that only grows."""

from pathlib import Path

from django.db import migrations

from config.contract.grants import insert_only

SQL = Path(__file__).resolve().parent.parent / "sql" / "usage_record.sql"


class Migration(migrations.Migration):
    dependencies = [
        ("usage", "0001_initial"),
        ("quotas", "0001_initial"),
        ("contract", "0002_the_one_row"),
    ]
    operations = [
        migrations.RunSQL(SQL.read_text(), "DROP FUNCTION usage_record"),
        insert_only("usage_usageevent"),
        insert_only("usage_usagevoid"),
        # Every count updates its row in place: room on the page keeps that a
        # heap-only update, with no index touched.
        migrations.RunSQL(
            "ALTER TABLE quotas_usagecounter SET (fillfactor = 50)",
            "ALTER TABLE quotas_usagecounter RESET (fillfactor)",
        ),
    ]
