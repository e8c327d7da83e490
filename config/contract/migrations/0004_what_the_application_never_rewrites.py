"""The application adds to the admin's log, and reads what was migrated; it rewrites neither."""

from django.db import migrations

from config.contract.grants import insert_only, read_only, update_only


class Migration(migrations.Migration):
    dependencies = [
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("contract", "0003_remember_answers_of_requests_under_a_key"),
    ]

    operations = [
        insert_only("django_admin_log"),
        read_only("django_migrations"),
        update_only("contract_installation", "copy_epoch", "clock_offset_seconds", insert=False),
    ]
