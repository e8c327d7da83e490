from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("quotas", "0014_counters_know_whether_they_were_sold"),
    ]

    operations = [
        migrations.AddField(
            model_name="forgiveness",
            name="act_id",
            field=models.UUIDField(
                blank=True,
                help_text="The reset: what it forgave is not forgiven again by it.",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="forgiveness",
            constraint=models.UniqueConstraint(
                fields=("act_id", "org_id", "metric"), name="forgiveness_once_per_act"
            ),
        ),
    ]
