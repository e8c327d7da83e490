"""What plans are sold at today is known for ever; older prices are found at Stripe."""

from typing import Any

from django.db import migrations


def remember(apps: Any, _schema_editor: Any) -> None:
    plan_price = apps.get_model("billing", "PlanPrice")
    plans = apps.get_model("billing", "Plan").objects.exclude(stripe_price_id="")
    plan_price.objects.bulk_create(
        [
            plan_price(
                stripe_price_id=plan.stripe_price_id,
                plan_code=plan.code,
                unit_amount=plan.amount,
                currency=plan.currency,
                interval=plan.interval,
            )
            for plan in plans
        ],
        ignore_conflicts=True,
    )


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0019_prices_of_plans_and_quantities"),
    ]

    operations = [
        # What was remembered is not forgotten again: the table goes with 0019.
        migrations.RunPython(remember, migrations.RunPython.noop),
    ]
