"""What staff did is never written over."""

from django.db import migrations

from config.contract.grants import insert_only


class Migration(migrations.Migration):
    dependencies = [("backoffice", "0002_staff_acts")]
    operations = [insert_only("backoffice_staffact"), insert_only("backoffice_staffactend")]
