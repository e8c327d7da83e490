"""The application works on an event's job; what the event said it may only drop."""

from django.db import migrations

from config.contract.grants import update_only

_FORGET = """
    CREATE FUNCTION webhooks_forget_payloads(pks bigint[]) RETURNS integer
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        WITH forgotten AS (
            UPDATE webhooks_webhookevent SET payload = NULL
             WHERE id = ANY (pks) AND state IN ('processed', 'ignored') AND payload IS NOT NULL
            RETURNING 1
        )
        SELECT count(*)::integer FROM forgotten
    $$
"""


class Migration(migrations.Migration):
    dependencies = [
        ("webhooks", "0006_blank_secrets_in_stored_events"),
    ]

    operations = [
        migrations.RunSQL(_FORGET, "DROP FUNCTION webhooks_forget_payloads(bigint[])"),
        update_only(
            "webhooks_webhookevent",
            "org_id",
            "correlation_id",
            "state",
            "attempts",
            "key_generation",
            "due_at",
            "lease_until",
            "error",
            "processed_at",
        ),
    ]
