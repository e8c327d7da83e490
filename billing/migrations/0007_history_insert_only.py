"""The history of what billing keeps only grows."""

from django.db import migrations

from config.contract.grants import insert_only


class Migration(migrations.Migration):
    dependencies = [("billing", "0006_history")]
    operations = [
        insert_only("billing_organizationevent"),
        insert_only("billing_subscriptionevent"),
        insert_only("billing_invoicerefevent"),
        insert_only("billing_operationevent"),
    ]
