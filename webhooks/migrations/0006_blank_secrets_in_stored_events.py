"""Blank what opens a door in events that were stored before it was blanked at the door."""

import importlib

from django.db import migrations


def blank(apps, schema_editor):
    """Do what `manage.py blank_inbox` does: in short statements, beside all that runs."""
    importlib.import_module("webhooks.retention").blank_payloads()


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("webhooks", "0005_gap_filling_goes_on_where_it_stopped"),
    ]

    operations = [migrations.RunPython(blank, migrations.RunPython.noop)]
