"""The row of installation-wide facts: epoch and clock."""

from django.db import migrations


def make(apps, schema_editor):
    apps.get_model("contract", "Installation").objects.get_or_create(pk=1)


def unmake(apps, schema_editor):
    apps.get_model("contract", "Installation").objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [("contract", "0001_initial")]
    operations = [migrations.RunPython(make, unmake)]
