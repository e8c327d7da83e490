"""The rows behind `adjusted` and `forgiven` only grow."""

from django.db import migrations

from config.contract.grants import insert_only


class Migration(migrations.Migration):
    dependencies = [("quotas", "0003_corrections")]
    operations = [
        insert_only("quotas_adjustment"),
        insert_only("quotas_forgiveness"),
        insert_only("quotas_counterrepair"),
    ]
