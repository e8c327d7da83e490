"""The audit trail only grows."""

from django.db import migrations

from config.contract.grants import insert_only


class Migration(migrations.Migration):
    dependencies = [("tokens", "0001_initial")]
    operations = [insert_only("tokens_auditentry")]
