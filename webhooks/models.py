"""The inbox: every event Stripe sent, kept until its effects are committed."""

from django.db import models
from django.db.models import Q


class WebhookEvent(models.Model):
    """One event of Stripe. Its fields are the job: nothing else needs to survive."""

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        PROCESSED = "processed", "Processed"
        IGNORED = "ignored", "Ignored"
        PARKED = "parked", "Parked"

    event_id = models.CharField(max_length=255, unique=True)
    type = models.CharField(max_length=100)
    object_id = models.CharField(max_length=255, blank=True)
    org_id = models.CharField(max_length=30, blank=True)
    api_version = models.CharField(max_length=40, blank=True)
    payload = models.JSONField(null=True, blank=True)
    correlation_id = models.CharField(max_length=128)
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(help_text="When Stripe made it.")
    received_at = models.DateTimeField()
    processed_at = models.DateTimeField(null=True, blank=True)

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
        ]
        permissions = [("replay_webhookevent", "Can replay webhook events")]

    def __str__(self) -> str:
        return f"{self.event_id} {self.type} ({self.state})"
