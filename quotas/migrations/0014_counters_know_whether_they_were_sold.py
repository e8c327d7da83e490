from django.db import migrations, models


class Migration(migrations.Migration):
    """Counters that are there count on as they did: the default is true."""

    dependencies = [
        ("quotas", "0013_ended_periods_cross_nothing"),
    ]

    operations = [
        migrations.AddField(
            model_name="usagecounter",
            name="sold",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text="There was access while the period ran. Where there was none, nothing"
                " of it is ever counted, whatever is sold later.",
            ),
        ),
    ]
