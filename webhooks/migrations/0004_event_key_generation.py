"""How often the idempotency keys of what an event does at Stripe were renewed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("webhooks", "0003_indexes_for_the_back_office"),
    ]

    operations = [
        migrations.AddField(
            model_name="webhookevent",
            name="key_generation",
            # With a default in the database: code that does not know it goes on inserting.
            field=models.PositiveSmallIntegerField(
                db_default=0,
                default=0,
                help_text="How often the keys of its requests were renewed.",
            ),
        ),
    ]
