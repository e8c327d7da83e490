"""The history of installations, codes, access and operators' keys only grows."""

from django.db import migrations

from config.contract.grants import insert_only


class Migration(migrations.Migration):
    dependencies = [("tokens", "0008_history")]
    operations = [
        insert_only("tokens_orgaccessevent"),
        insert_only("tokens_tokenfamilyevent"),
        insert_only("tokens_activationcodeevent"),
        insert_only("tokens_operatorkeyevent"),
    ]
