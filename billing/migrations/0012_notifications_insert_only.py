"""What was announced stays, and so does the history of where to."""

from django.db import migrations

from config.contract.grants import insert_only


class Migration(migrations.Migration):
    dependencies = [("billing", "0011_notifications")]
    operations = [
        insert_only("billing_notification"),
        insert_only("billing_notificationsettingsevent"),
    ]
