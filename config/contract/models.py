"""What is true of the installation as a whole."""

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
