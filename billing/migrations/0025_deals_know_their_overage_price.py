from django.db import migrations

# What the catalogue says today is what each subscriber would be charged, so it is their deal.
# Where a subscription has a metered item at Stripe, the next fetch of it says better.
_PRICES = """
    CREATE TEMPORARY TABLE overage_price ON COMMIT DROP AS
    SELECT p.code AS plan_code, jsonb_object_agg(a.metric, jsonb_build_object(
               'unitAmount', trim_scale(a.overage_unit_amount)::text,
               'currency', p.currency)) AS prices
      FROM billing_planallowance a JOIN billing_plan p ON p.id = a.plan_id
     WHERE a.overage = 'allow'
     GROUP BY p.code
"""
_KEEP = """
    UPDATE {table} t SET {prefix}overage_prices = p.prices FROM overage_price p
     WHERE t.{prefix}plan_code = p.plan_code AND t.{prefix}overage_prices = '{{}}'
"""


class Migration(migrations.Migration):
    """Rows that no plan with overage stands behind are not touched."""

    dependencies = [
        ("billing", "0024_overage_keeps_its_price"),
        ("quotas", "0016_overage_keeps_its_price"),
    ]

    operations = [
        migrations.RunSQL(
            [
                _PRICES,
                *(
                    _KEEP.format(table=table, prefix=prefix)
                    for table in ("billing_subscription", "quotas_entitlement")
                    for prefix in ("", "scheduled_")
                ),
            ],
            migrations.RunSQL.noop,
        )
    ]
