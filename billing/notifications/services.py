"""Where an organisation wants to be told, and the secret that signs for it."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from billing.contact.rules import NotTaken, checked_email
from billing.notifications import addresses, destinations, signing
from billing.notifications.models import NotificationSettings
from config.contract import history
from config.contract.errors import NotFound, ValidationFailed
from quotas import thresholds
from quotas.crossings import DEFAULT_PERCENTS

#: For how long a secret that was replaced still signs beside its successor.
OVERLAP = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Asked:
    """Where an organisation is told and of which thresholds.

    `pending` are those of the addresses that nothing is sent to before their readers have
    agreed (billing.notifications.addresses). `secret` only where it was made by this very
    call; it is shown once.
    """

    url: str | None
    emails: list[str]
    thresholds: list[int]
    pending: list[str]
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class Rotated:
    """A new secret, and until when (real time) the one before it signs too."""

    secret: str
    previous_until: datetime | None


def get(*, org_id: str) -> Asked:
    """Return where an organisation is told, its owner's address where it chose none."""
    held = NotificationSettings.objects.filter(org_id=org_id).first()
    return Asked(
        url=(held.url if held else "") or None,
        emails=addresses.chosen_of(org_id, held),
        thresholds=thresholds.chosen(org_id),
        pending=addresses.pending_of(org_id, held),
    )


def put(
    *,
    org_id: str,
    url: str | None,
    emails: Sequence[str] | None,
    percents: Sequence[int] | None,
    now: datetime,
    real_now: datetime,
) -> Asked:
    """Say where an organisation is told from now on; what is None goes back to its default.

    No URL, the owner's address, 50, 80 and 100 percent. The first URL makes the
    secret. An address that is new gets a link, and mail once its reader has used it.
    Raises ValidationFailed or Throttled; nothing is changed then.
    """
    emails = _checked(url, emails)
    with transaction.atomic(), history.because("notification settings"):
        NotificationSettings.objects.bulk_create(
            [NotificationSettings(org_id=org_id, updated_at=now)], ignore_conflicts=True
        )
        held = NotificationSettings.objects.select_for_update().get(org_id=org_id)
        makes_secret = url is not None and held.secret_id is None
        if makes_secret:
            held.secret_id = uuid.uuid4()
        held.url = url or ""
        held.emails = emails
        held.updated_at = now
        held.save()
        addresses.choose(org_id=org_id, emails=emails or (), now=real_now)
        wanted = DEFAULT_PERCENTS if percents is None else percents
        if sorted(set(wanted)) != thresholds.chosen(org_id):
            thresholds.choose(org_id=org_id, percents=wanted, now=now)
    return Asked(
        url=url or None,
        emails=addresses.chosen_of(org_id, held),
        thresholds=thresholds.chosen(org_id),
        pending=addresses.pending_of(org_id, held),
        secret=signing.secret_of(held.secret_id) if makes_secret else None,
    )


def rotate_secret(*, org_id: str, now: datetime) -> Rotated:
    """Make a new secret; the one before it signs too for OVERLAP. `now` is real time.

    Raises NotFound where there is no URL to sign for.
    """
    with transaction.atomic(), history.because("secret rotated"):
        held = NotificationSettings.objects.select_for_update().filter(org_id=org_id).first()
        if held is None or held.secret_id is None:
            raise NotFound("No webhook is set up")
        held.previous_secret_id = held.secret_id
        held.previous_until = now + OVERLAP
        held.secret_id = uuid.uuid4()
        held.updated_at = now
        held.save()
    return Rotated(signing.secret_of(held.secret_id), held.previous_until)


def _checked(url: str | None, emails: Sequence[str] | None) -> list[str] | None:
    faults: dict[str, list[str]] = {}
    if url is not None:
        try:
            destinations.read(url)
        except destinations.Refused as refused:
            faults["url"] = [refused.why]
    checked: list[str] = []
    for position, address in enumerate(emails or ()):
        try:
            checked.append(checked_email(address))
        except NotTaken as refused:
            faults[f"emails.{position}"] = [str(refused)]
    if faults:
        raise ValidationFailed(faults)
    return None if emails is None else checked
