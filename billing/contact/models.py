"""Changes of an owner's address: asked for, confirmed, and who was told."""

from datetime import datetime

from django.db import models
from django.db.models import Q


class EmailChange(models.Model):
    """One change of an organisation's e-mail address. All instants are real time.

    An owner's takes effect when its link is opened; staff's and Stripe's are confirmed as
    they are made. The link's token is derived from `uuid` and stored as a hash only.
    `mail_due_at` says when something of it is to be mailed (again), None that all is said.
    """

    class Source(models.TextChoices):
        OWNER = "owner", "Owner"
        STAFF = "staff", "Staff"
        STRIPE = "stripe", "Stripe"

    uuid = models.UUIDField(unique=True)
    org_id = models.CharField(max_length=30)
    email = models.EmailField()
    previous_email = models.EmailField()
    source = models.CharField(max_length=6, choices=Source)
    token_hash = models.BinaryField(max_length=32, null=True, blank=True, unique=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    link_sent_at = models.DateTimeField(null=True, blank=True)
    warned_at = models.DateTimeField(null=True, blank=True)
    told_at = models.DateTimeField(null=True, blank=True)
    mail_due_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "change of e-mail"
        verbose_name_plural = "changes of e-mail"
        constraints = [
            # The newest request counts: an older link must not bring an old address back.
            models.UniqueConstraint(
                fields=["org_id"],
                condition=Q(confirmed_at__isnull=True, withdrawn_at__isnull=True),
                name="email_change_one_open",
            ),
        ]
        indexes = [
            # The page of an organisation, newest first.
            models.Index(fields=["org_id", "-created_at"], name="email_change_by_org"),
            # The mailer: what is due.
            models.Index(
                fields=["mail_due_at"],
                condition=Q(mail_due_at__isnull=False),
                name="email_change_mail_due",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.org_id} {self.get_source_display()} {self.created_at:%Y-%m-%d}"

    def is_open(self, now: datetime) -> bool:
        """Tell whether its link may still be used."""
        if self.confirmed_at is not None or self.withdrawn_at is not None:
            return False
        return self.expires_at is not None and now < self.expires_at
