"""The groups of staff: auditor, support, billing admin.

Only their names: `config.backoffice.roles` fills them after each migration, when
Django has made the permissions of new tables.
"""

from django.db import migrations

NAMES = ("auditor", "support", "billing admin")


def make(apps, schema_editor):
    group = apps.get_model("auth", "Group")
    for name in NAMES:
        group.objects.get_or_create(name=name)


def unmake(apps, schema_editor):
    apps.get_model("auth", "Group").objects.filter(name__in=NAMES).delete()


class Migration(migrations.Migration):
    initial = True
    dependencies = [("auth", "0012_alter_user_first_name_max_length")]
    operations = [migrations.RunPython(make, unmake)]
