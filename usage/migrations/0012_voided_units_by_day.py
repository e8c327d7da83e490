"""Kept days say how many of their units were voided.

Days that were computed before say 0 until they are computed again; a process of an older
version writes 0 too. Either is no more than the day has, which is all that readers rely on.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("usage", "0011_know_logs_by_their_beginning")]

    operations = [
        migrations.AddField(
            model_name="dailyusage",
            name="voided",
            field=models.BigIntegerField(
                db_default=0,
                default=0,
                help_text="Units of the day's events that were voided.",
            ),
        ),
    ]
