"""Who may call for an organisation, and by which token."""

from typing import Self

import pghistory
import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

#: Operator credentials have a row of access too; nobody may take one for an organisation.
OPERATOR_KEY_PREFIX = "opk"


def _by_org(name: str) -> dict[str, object]:
    """Index a history table for the timeline of an organisation."""
    return {"indexes": [models.Index(fields=["org_id", "-pgh_id"], name=name)]}


class OrgAccessQuerySet(models.QuerySet["OrgAccess"]):
    """Rows of access."""

    def organisations(self) -> Self:
        """Leave out the rows of operator credentials."""
        return self.exclude(org_id__startswith=f"{OPERATOR_KEY_PREFIX}_")


@pghistory.track(exclude=["generation"], meta=_by_org("org_access_history_by_org"))
class OrgAccess(models.Model):
    """Whether an organisation may call at all; one row each.

    `generation` grows with every change that a token already handed out must
    feel (suspension, revocation), so that a newer copy in Valkey wins.
    """

    org_id = models.CharField(max_length=30, unique=True)
    suspended_at = models.DateTimeField(null=True, blank=True)
    suspended_reason = models.CharField(max_length=500, blank=True)
    installation_limit = models.PositiveIntegerField(default=5)
    generation = models.PositiveBigIntegerField(default=1)
    created_at = models.DateTimeField()

    objects = OrgAccessQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "org access"

    def __str__(self) -> str:
        return f"{self.org_id}{' (suspended)' if self.suspended_at else ''}"


# A refresh is in the audit trail; here it would add a row every ten minutes.
@pghistory.track(exclude=["last_refreshed_at", "expires_at"], meta=_by_org("family_history_by_org"))
class TokenFamily(models.Model):
    """One installation: the chain of refresh tokens that began with one activation."""

    id = models.CharField(primary_key=True, max_length=30)
    org_id = models.CharField(max_length=30)
    domain = models.CharField(max_length=253, blank=True)
    scopes = ArrayField(models.CharField(max_length=32))
    created_at = models.DateTimeField()
    last_refreshed_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_reason = models.CharField(max_length=64, blank=True)

    class Meta:
        verbose_name_plural = "token families"
        indexes = [
            # Live families of an organisation: the list, the limit, the auth summary.
            models.Index(fields=["org_id", "revoked_at"], name="family_by_org"),
            # CORS: has this domain a live installation?
            models.Index(
                fields=["domain"],
                condition=~Q(domain="") & Q(revoked_at=None),
                name="family_by_domain",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} of {self.org_id}"


# What a code or a secret could be guessed from has no place in a history.
@pghistory.track(exclude=["code_hash"], meta=_by_org("code_history_by_org"))
class ActivationCode(models.Model):
    """A one-time code that an installation trades for its first tokens. Kept as a hash."""

    code_hash = models.BinaryField(max_length=32, unique=True)
    org_id = models.CharField(max_length=30)
    domain = models.CharField(max_length=253, blank=True)
    scopes = ArrayField(models.CharField(max_length=32))
    issued_by = models.CharField(max_length=100)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    family = models.OneToOneField(
        TokenFamily, null=True, blank=True, on_delete=models.PROTECT, related_name="code"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(used_at__isnull=True, family__isnull=True)
                | Q(used_at__isnull=False, family__isnull=False),
                name="activation_code_used_by_a_family",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("created_at")), name="activation_code_lives"
            ),
        ]
        indexes = [
            # Unused codes of an organisation: the installation limit, CORS.
            models.Index(fields=["org_id", "expires_at"], name="activation_code_by_org"),
            # CORS: has this domain an unused code?
            models.Index(
                fields=["domain"],
                condition=~Q(domain="") & Q(used_at=None),
                name="activation_code_by_domain",
            ),
        ]

    def __str__(self) -> str:
        return f"code {self.pk} of {self.org_id}"


class RefreshToken(models.Model):
    """One link of a family's chain. Kept as a hash; used once."""

    family = models.ForeignKey(TokenFamily, on_delete=models.PROTECT, related_name="links")
    token_hash = models.BinaryField(max_length=32, unique=True)
    predecessor = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="successor"
    )
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            # Clean-up: the links that are over.
            models.Index(fields=["expires_at"], name="refresh_token_by_end"),
        ]

    def __str__(self) -> str:
        return f"refresh {self.pk} of {self.family_id}"


@pghistory.track(exclude=["secret_hash", "previous_secret_hash", "last_used_at", "uses"])
class OperatorKey(models.Model):
    """A credential of the company's own backend. Two secrets may live, both kept as hashes."""

    key_id = models.CharField(max_length=30, unique=True)
    name = models.CharField(max_length=100)
    scopes = ArrayField(models.CharField(max_length=32))
    secret_hash = models.BinaryField(max_length=32)
    previous_secret_hash = models.BinaryField(max_length=32, null=True, blank=True)
    created_at = models.DateTimeField()
    rotated_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    uses = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name} ({self.key_id})"


class PortalLink(models.Model):
    """A one-time link to the usage page, and the visit it was traded for. Kept as hashes.

    `family_id` is what it ends with: the family of the token that made it, or an
    operator's key. A visit may do no more than that token (`scopes`).
    """

    token_hash = models.BinaryField(max_length=32, unique=True)
    org_id = models.CharField(max_length=30)
    family_id = models.CharField(max_length=30)
    made_by = models.CharField(max_length=100)
    scopes = ArrayField(models.CharField(max_length=32))
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    session_hash = models.BinaryField(max_length=32, unique=True, null=True, blank=True)
    session_expires_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    used_at__isnull=True,
                    session_hash__isnull=True,
                    session_expires_at__isnull=True,
                    closed_at__isnull=True,
                )
                | Q(
                    used_at__isnull=False,
                    session_hash__isnull=False,
                    session_expires_at__isnull=False,
                ),
                name="portal_link_opened_whole",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("created_at")), name="portal_link_lives"
            ),
        ]
        indexes = [
            # The visits of an organisation, for staff.
            models.Index(fields=["org_id", "-created_at"], name="portal_link_by_org"),
            # Clean-up: the links that are over.
            models.Index(fields=["expires_at"], name="portal_link_by_end"),
        ]

    def __str__(self) -> str:
        return f"portal link {self.pk} of {self.org_id}"


class AuditEntry(models.Model):
    """What happened to codes and tokens, by whom, under which ids. Append-only."""

    #: What a working installation does every ten minutes: no news to anybody.
    ROUTINE = ("refreshed", "refresh_repeated")

    at = models.DateTimeField()
    org_id = models.CharField(max_length=30)
    what = models.CharField(max_length=64)
    who = models.CharField(max_length=100)
    family_id = models.CharField(max_length=30, blank=True)
    detail = models.JSONField(default=dict)
    request_id = models.CharField(max_length=128, blank=True)
    correlation_id = models.CharField(max_length=128, blank=True)

    class Meta:
        verbose_name_plural = "audit entries"
        indexes = [
            # The timeline of an organisation.
            models.Index(fields=["org_id", "-at"], name="token_audit_by_org"),
            # The same without what is routine, which is nearly all of it.
            models.Index(
                fields=["org_id", "-at"],
                condition=~Q(what__in=("refreshed", "refresh_repeated")),
                name="token_audit_told",
            ),
            # Staff search by the ids that a client was answered with.
            models.Index(fields=["correlation_id"], name="token_audit_by_correlation"),
            models.Index(fields=["request_id"], name="token_audit_by_request"),
        ]
        triggers = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"{self.what} {self.org_id}"


class StaffLogIn(models.Model):
    """A log-in of staff, a failure or a lock-out, at the page or the API. Append-only.

    Kept for STAFF_LOG_IN_DAYS, then deleted by a function of the database (migration 0011):
    the application's role has no right to delete. `username` is what was typed; `who` is the
    account, where it was one that got in.
    """

    class Outcome(models.TextChoices):
        LOGGED_IN = "logged_in", "Logged in"
        FAILED = "failed", "Failed"
        LOCKED_OUT = "locked_out", "Locked out"

    class Door(models.TextChoices):
        PAGE = "page", "Page"
        API = "api", "API"

    at = models.DateTimeField()
    outcome = models.CharField(max_length=10, choices=Outcome)
    username = models.CharField(max_length=150)
    address = models.CharField(max_length=45)
    door = models.CharField(max_length=4, choices=Door)
    who = models.CharField(max_length=100, blank=True)
    request_id = models.CharField(max_length=128, blank=True)
    correlation_id = models.CharField(max_length=128, blank=True)

    class Meta:
        verbose_name = "staff log-in"
        indexes = [
            # Staff look for a name, or for an address.
            models.Index(fields=["username", "-at"], name="staff_log_in_by_name"),
            models.Index(fields=["address", "-at"], name="staff_log_in_by_address"),
            # Clean-up: the oldest.
            models.Index(fields=["at"], name="staff_log_in_by_time"),
        ]
        triggers = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update),
            # Nobody deletes a trail that is fresh, the clean-up least of all.
            pgtrigger.Protect(
                name="kept_for_90_days",
                operation=pgtrigger.Delete,
                condition=pgtrigger.Condition("OLD.at > now() - interval '90 days'"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.username} from {self.address}: {self.outcome}"
