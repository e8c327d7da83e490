"""Addresses for notices agree by a link; those that were chosen before keep what they had.

They have been getting mail, and nobody told us to stop; to fall silent until somebody reads a
link would leave owners without word of payments that fail. A process of an older version
that writes a choice beside the new table leaves its new addresses without a row: they wait
until the choice is made again.
"""

from django.db import migrations, models

KEEP = """
    INSERT INTO billing_notificationaddress (uuid, org_id, email, created_at, confirmed_at)
    SELECT gen_random_uuid(), org_id, email, min(updated_at), min(updated_at)
      FROM billing_notificationsettings, unnest(emails) AS email
     GROUP BY org_id, email
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0025_deals_know_their_overage_price"),
    ]

    operations = [
        migrations.CreateModel(
            name="NotificationAddress",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("uuid", models.UUIDField(unique=True)),
                ("org_id", models.CharField(max_length=30)),
                ("email", models.EmailField(max_length=254)),
                (
                    "token_hash",
                    models.BinaryField(blank=True, max_length=32, null=True, unique=True),
                ),
                ("created_at", models.DateTimeField()),
                (
                    "expires_at",
                    models.DateTimeField(blank=True, help_text="Of the link.", null=True),
                ),
                ("link_sent_at", models.DateTimeField(blank=True, null=True)),
                ("confirmed_at", models.DateTimeField(blank=True, null=True)),
                ("withdrawn_at", models.DateTimeField(blank=True, null=True)),
                ("mail_due_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "verbose_name_plural": "notification addresses",
                "indexes": [
                    models.Index(
                        condition=models.Q(("mail_due_at__isnull", False)),
                        fields=["mail_due_at"],
                        name="notification_address_mail_due",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("withdrawn_at__isnull", True)),
                        fields=("org_id", "email"),
                        name="notification_address_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("confirmed_at__isnull", False),
                            ("expires_at__isnull", False),
                            _connector="OR",
                        ),
                        name="notification_address_asked",
                    ),
                ],
            },
        ),
        migrations.RunSQL(KEEP, migrations.RunSQL.noop),
    ]
