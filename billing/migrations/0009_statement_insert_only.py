"""Seals are made once and never changed."""

from django.db import migrations

from config.contract.grants import insert_only


class Migration(migrations.Migration):
    dependencies = [("billing", "0008_statement")]
    operations = [insert_only("billing_statement")]
