"""The history of entitlements only grows."""

from django.db import migrations

from config.contract.grants import insert_only


class Migration(migrations.Migration):
    dependencies = [("quotas", "0005_entitlement_history")]
    operations = [insert_only("quotas_entitlementevent")]
