"""The inbox: every event Stripe sent, kept until its effects are committed."""

from datetime import datetime

from django.db import models
from django.db.models import Q


class WebhookEventQuerySet(models.QuerySet["WebhookEvent"]):
    """What the sweeper and the claims look for."""

    def due(self, now: datetime) -> "WebhookEventQuerySet":
        """Events to be worked on at `now` (real time): waiting, and leased by nobody."""
        free = Q(lease_until=None) | Q(lease_until__lte=now)
        return self.filter(free, state=WebhookEvent.State.PENDING, due_at__lte=now)


class WebhookEvent(models.Model):
    """One event of Stripe. Its fields are the job: nothing else needs to survive.

    `due_at` and `lease_until` are real time, the other instants the
    installation's. `refused` says why an event must never be processed, however
    often it is replayed.
    """

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        PROCESSED = "processed", "Processed"
        IGNORED = "ignored", "Ignored"
        PARKED = "parked", "Parked"

    class Refused(models.TextChoices):
        NOT_AN_EVENT = "not_an_event", "Not an event"
        LIVEMODE = "livemode", "Of the other mode"
        ACCOUNT = "account", "Of another account"

    event_id = models.CharField(max_length=255, unique=True)
    type = models.CharField(max_length=100)
    object_id = models.CharField(max_length=255, blank=True)
    org_id = models.CharField(max_length=30, blank=True)
    api_version = models.CharField(max_length=40, blank=True)
    payload = models.JSONField(null=True, blank=True)
    correlation_id = models.CharField(max_length=128)
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    refused = models.CharField(max_length=20, choices=Refused, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    key_generation = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="How often the keys of its requests were renewed."
    )
    due_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(help_text="When Stripe made it.")
    received_at = models.DateTimeField()
    processed_at = models.DateTimeField(null=True, blank=True)

    objects = WebhookEventQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Q(state="processed") | Q(processed_at__isnull=False),
                name="webhook_event_processed_at",
            ),
        ]
        indexes = [
            # The sweeper: what is due.
            models.Index(fields=["due_at"], condition=Q(state="pending"), name="webhook_event_due"),
            # One object's events, claimed together.
            models.Index(fields=["object_id", "created_at"], name="webhook_event_by_object"),
            # What Stripe said about an organisation, newest first.
            models.Index(
                fields=["org_id", "-received_at"],
                condition=~Q(org_id=""),
                name="webhook_event_by_org",
            ),
            # Staff search by the id that the log lines carry.
            models.Index(fields=["correlation_id"], name="webhook_event_by_correlation"),
            # What nobody could process: the admin, and the way out of it.
            models.Index(
                fields=["received_at"], condition=Q(state="parked"), name="webhook_event_parked"
            ),
            # Payloads old enough to be dropped.
            models.Index(
                fields=["received_at"],
                condition=Q(payload__isnull=False),
                name="webhook_event_with_payload",
            ),
        ]
        permissions = [("replay_webhookevent", "Can replay webhook events")]

    def __str__(self) -> str:
        return f"{self.event_id} {self.type} ({self.state})"


class EventCoverage(models.Model):
    """The one row that says how far the inbox was compared with Stripe's list of events."""

    ONLY = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY)
    covered_to = models.DateTimeField(
        null=True, blank=True, help_text="All events made before this are in the inbox."
    )
    progress = models.JSONField(
        null=True,
        blank=True,
        help_text="Where a comparison that was cut short goes on, and up to when it goes.",
    )
    lease_until = models.DateTimeField(help_text="Who compares now, holds it (real time).")

    class Meta:
        verbose_name_plural = "event coverage"
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="event_coverage_is_one_row"),
        ]

    def __str__(self) -> str:
        unfinished = ", not finished" if self.progress else ""
        return f"covered to {self.covered_to}{unfinished}"
