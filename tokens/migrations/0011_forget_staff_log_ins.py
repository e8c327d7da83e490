"""Log-ins of staff are forgotten at last; by a function that can do nothing else.

The application's role may not delete from the trail. The function deletes what is older than
it is asked to, and never what is younger than 90 days; a trigger holds everybody to that.
"""

import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

_FORGET = """
    CREATE FUNCTION tokens_forget_staff_log_ins(before timestamptz, most integer) RETURNS integer
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        WITH forgotten AS (
            DELETE FROM tokens_stafflogin WHERE id IN (
                SELECT id FROM tokens_stafflogin
                 WHERE at < least(before, now() - interval '90 days')
                 ORDER BY at LIMIT most
            )
            RETURNING 1
        )
        SELECT count(*)::integer FROM forgotten
    $$
"""


class Migration(migrations.Migration):
    dependencies = [
        ("tokens", "0010_staff_log_ins"),
    ]

    operations = [
        pgtrigger.migrations.RemoveTrigger(
            model_name="stafflogin",
            name="append_only",
        ),
        migrations.AddIndex(
            model_name="stafflogin",
            index=models.Index(fields=["at"], name="staff_log_in_by_time"),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="stafflogin",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update rows from % table', TG_TABLE_NAME;",
                    hash="7fcbff4a631d41187021271f69d8cbf9593c5ef6",
                    operation="UPDATE",
                    pgid="pgtrigger_append_only_92dcb",
                    table="tokens_stafflogin",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="stafflogin",
            trigger=pgtrigger.compiler.Trigger(
                name="kept_for_90_days",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.at > now() - interval '90 days')",
                    func="RAISE EXCEPTION 'pgtrigger: Cannot delete rows from % table', TG_TABLE_NAME;",
                    hash="8ad7e234a74ec416db63a93ee7b2d87c6b1418ba",
                    operation="DELETE",
                    pgid="pgtrigger_kept_for_90_days_e1f93",
                    table="tokens_stafflogin",
                    when="BEFORE",
                ),
            ),
        ),
        migrations.RunSQL(
            _FORGET, "DROP FUNCTION tokens_forget_staff_log_ins(timestamptz, integer)"
        ),
    ]
