"""What is true of the installation as a whole."""

from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Q


class Installation(models.Model):
    """The one row of installation-wide facts."""

    ONLY = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY)
    copy_epoch = models.PositiveIntegerField(
        default=1, help_text="Raised by the restore procedure: older copies in Valkey lose."
    )
    clock_offset_seconds = models.FloatField(
        default=0, help_text="How far the sandbox clock is ahead of real time."
    )

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="installation_is_one_row"),
        ]

    def __str__(self) -> str:
        return f"epoch {self.copy_epoch}, clock {self.clock_offset_seconds:+.0f} s"


class StoredAnswer(models.Model):
    """The answer once given under a client's Idempotency-Key, scoped by caller and route.

    `response` holds no secret: a replay reads it again, or leaves it out.
    """

    scope = models.CharField(max_length=120)
    key_hash = models.BinaryField(max_length=32)
    body_hash = models.BinaryField(max_length=32)
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    response = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.scope} ({self.status or 'running'})"

    def store(self, *, status: int, response: Any) -> None:
        """Remember the answer, in the transaction of its effect where it has one."""
        self.status, self.response = status, response
        self.save(update_fields=["status", "response"])


class KeyedRequest(StoredAnswer):
    """A request under a key whose effect is in our own database alone.

    Rows of the effect name `act_id`, so that it is never done twice; `lease_until`
    (real time) says whether somebody works on it.
    """

    act_id = models.UUIDField(unique=True)
    lease_until = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["scope", "key_hash"], name="keyed_request_scoped"),
        ]
        indexes = [
            # Forgetting after 24 hours.
            models.Index(fields=["created_at"], name="keyed_request_by_age"),
        ]

    def release(self, *, now: datetime) -> None:
        """Let the next request with the key go on at once: this one was not decided."""
        self.lease_until = now
        self.save(update_fields=["lease_until"])
