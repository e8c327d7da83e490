"""Lists that staff took out as files."""

from django.conf import settings
from django.db import models
from django.db.models import Q


class Export(models.Model):
    """A list too long to be waited for, written to a file by a worker.

    `listed` and `query` are the list and its filters as its maker saw them. Work goes
    on from `last_key`, `rows` and `size`, whoever does it; `lease_until` says until
    when somebody is at it. Only the maker may fetch the file, until `expires_at`.
    All instants are real time.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        EXPIRED = "expired", "Expired"

    uuid = models.UUIDField(unique=True)
    listed = models.CharField(max_length=100)
    query = models.TextField(blank=True)
    maker = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    rows = models.PositiveBigIntegerField(default=0)
    size = models.PositiveBigIntegerField(default=0)
    last_key = models.JSONField(null=True, blank=True)
    error = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()
    lease_until = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            # What a worker that was lost left behind.
            models.Index(
                fields=["lease_until"], condition=Q(state="waiting"), name="export_unfinished"
            ),
            # Files whose time is over.
            models.Index(fields=["expires_at"], condition=Q(state="done"), name="export_by_end"),
        ]

    def __str__(self) -> str:
        return f"{self.listed} ({self.state})"
