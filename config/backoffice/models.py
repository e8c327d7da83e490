"""What staff did in the back office: written down before it is done, and how it ended after."""

import pgtrigger
from django.db import models

from config.backoffice.export_models import Export  # noqa: F401 - a table of this app
from config.backoffice.recovery_models import RecoveryCode  # noqa: F401 - the same


class StaffAct(models.Model):
    """An act that a member of staff confirmed. Append-only; committed before the act begins.

    `uuid` names the confirmation: a page that is sent twice finds the row of the
    first time. `shown` is what the page said would change, as (what, before, after).
    """

    uuid = models.UUIDField(unique=True)
    act = models.CharField(max_length=64)
    org_id = models.CharField(max_length=30, blank=True)
    who = models.CharField(max_length=100)
    username = models.CharField(max_length=150)
    reason = models.CharField(max_length=500)
    asked = models.JSONField()
    shown = models.JSONField()
    at = models.DateTimeField()
    request_id = models.CharField(max_length=128, blank=True)
    correlation_id = models.CharField(max_length=128, blank=True)

    class Meta:
        indexes = [
            # The timeline of an organisation.
            models.Index(fields=["org_id", "-at"], name="staff_act_by_org"),
        ]
        triggers = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
        ]
        permissions = [
            ("change_plan", "Can change an organisation's plan on its behalf"),
            ("suspend_organization", "Can suspend and restore an organisation"),
            ("manage_installations", "Can issue and revoke codes and installations"),
            ("manage_operators", "Can make, rotate and revoke operator credentials"),
        ]

    def __str__(self) -> str:
        return f"{self.act} {self.org_id} by {self.username}".replace("  ", " ")


class StaffActEnd(models.Model):
    """How an act ended. Append-only; an act without one was cut off in the middle."""

    class State(models.TextChoices):
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    act = models.OneToOneField(StaffAct, on_delete=models.PROTECT, related_name="end")
    state = models.CharField(max_length=10, choices=State)
    said = models.CharField(max_length=500)
    at = models.DateTimeField()

    class Meta:
        triggers = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"{self.state}: {self.said}"
