"""Who is told, what there was to tell, and each way of telling it."""

from datetime import datetime

import pghistory
import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q


# Indexed for the timeline of an organisation.
@pghistory.track(
    meta={
        "indexes": [
            models.Index(fields=["org_id", "-pgh_id"], name="notification_settings_history")
        ]
    }
)
class NotificationSettings(models.Model):
    """Where an organisation wants to be told. Without a row: its owner, by e-mail.

    `emails` None is the owner's address, an empty list nobody's. The webhook's
    secret is derived from `secret_id` (billing.notifications.signing) and stored
    nowhere; the one before it signs too until `previous_until` (real time).
    """

    org_id = models.CharField(max_length=30, unique=True)
    url = models.URLField(max_length=2048, blank=True)
    emails = ArrayField(models.EmailField(), null=True, blank=True)
    secret_id = models.UUIDField(null=True, blank=True)
    previous_secret_id = models.UUIDField(null=True, blank=True)
    previous_until = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "notification settings"
        constraints = [
            models.CheckConstraint(
                condition=Q(url="") | Q(secret_id__isnull=False),
                name="notification_settings_signed",
            ),
        ]

    def __str__(self) -> str:
        return f"notifications of {self.org_id}"


class NotificationAddress(models.Model):
    """An address that an organisation chose, and whether its reader agreed. All in real time.

    The link's token is derived from `uuid` and stored as a hash only. `mail_due_at` says when
    the link is to be mailed (again). One that is chosen no more is withdrawn for good.
    """

    uuid = models.UUIDField(unique=True)
    org_id = models.CharField(max_length=30)
    email = models.EmailField()
    token_hash = models.BinaryField(max_length=32, null=True, blank=True, unique=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Of the link.")
    link_sent_at = models.DateTimeField(null=True, blank=True)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    mail_due_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "notification addresses"
        constraints = [
            models.UniqueConstraint(
                fields=["org_id", "email"],
                condition=Q(withdrawn_at__isnull=True),
                name="notification_address_once",
            ),
            models.CheckConstraint(
                condition=Q(confirmed_at__isnull=False) | Q(expires_at__isnull=False),
                name="notification_address_asked",
            ),
        ]
        indexes = [
            # The mailer: what is due.
            models.Index(
                fields=["mail_due_at"],
                condition=Q(mail_due_at__isnull=False),
                name="notification_address_mail_due",
            ),
        ]

    def __str__(self) -> str:
        return f"notification address {self.pk} of {self.org_id}"

    def is_open(self, now: datetime) -> bool:
        """Tell whether its link may still be used."""
        if self.confirmed_at is not None or self.withdrawn_at is not None:
            return False
        return self.expires_at is not None and now < self.expires_at


class Notification(models.Model):
    """Something an organisation is told, once. Insert-only.

    `message_id` is the webhook's id, the same at each attempt; `key` says what it
    is about, so that the same is never announced twice. `data` is what is sent.
    """

    class Kind(models.TextChoices):
        THRESHOLD_CROSSED = "threshold.crossed", "Threshold crossed"
        TRIAL_ENDING = "trial.ending", "Trial ending"
        PAYMENT_FAILED = "payment.failed", "Payment failed"

    message_id = models.CharField(max_length=30, unique=True)
    org_id = models.CharField(max_length=30)
    kind = models.CharField(max_length=20, choices=Kind)
    key = models.CharField(max_length=300)
    data = models.JSONField()
    happened_at = models.DateTimeField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["org_id", "key"], name="notification_once"),
        ]
        triggers = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.message_id}"


class Delivery(models.Model):
    """One way of telling one notification: an e-mail to one address, or the webhook.

    Waiting ones are due at `due_at` (real time), which is put ahead while
    somebody works on it: who dies leaves it to be taken up again.
    """

    class Channel(models.TextChoices):
        EMAIL = "email", "E-mail"
        WEBHOOK = "webhook", "Webhook"

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    notification = models.ForeignKey(
        Notification, on_delete=models.PROTECT, related_name="deliveries"
    )
    channel = models.CharField(max_length=10, choices=Channel)
    address = models.EmailField(blank=True, help_text="Of an e-mail; a webhook goes to the URL.")
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    round = models.PositiveIntegerField(default=0, help_text="Attempts since it was last resent.")
    due_at = models.DateTimeField()
    answer = models.PositiveSmallIntegerField(null=True, blank=True, help_text="HTTP status.")
    error = models.CharField(max_length=40, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(
                fields=["notification", "channel", "address"], name="delivery_one_per_address"
            ),
            models.CheckConstraint(
                condition=Q(state="waiting", finished_at__isnull=True)
                | (~Q(state="waiting") & Q(finished_at__isnull=False)),
                name="delivery_finished_at",
            ),
        ]
        indexes = [
            # What is to be sent now.
            models.Index(fields=["due_at"], condition=Q(state="waiting"), name="delivery_due"),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.notification_id} ({self.state})"
