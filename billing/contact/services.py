"""Changing an organisation's name and e-mail address.

An owner's new address takes effect when its one-time link is opened; what staff and
Stripe say takes effect at once. Stripe's customer follows (billing.contact.following).
"""

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet
from uuid_utils.compat import uuid7

from billing.contact import rules
from billing.contact.models import EmailChange
from billing.models import Organization
from config.contract import history
from config.contract.doorbell import ring
from config.contract.errors import NotFound, ValidationFailed
from tokens import secrets, throttles
from tokens.secrets import hashed

Source = EmailChange.Source


class LinkGone(Exception):
    """The link is unknown, used, expired or replaced: they look the same."""


@dataclass(frozen=True, slots=True)
class Contact:
    """Name and address as they are, and the address that waits for its link to be opened."""

    org_id: str
    name: str
    email: str
    email_pending: str | None = None


@dataclass(frozen=True, slots=True)
class ContactChange:
    """What is to change; None leaves it. Checked: `read` makes one."""

    name: str | None = None
    email: str | None = None


def read(*, name: str | None, email: str | None) -> ContactChange:
    """Check a name and an address, each by its rule. Raises ValidationFailed for both at once."""
    faults: dict[str, list[str]] = {}
    checked: dict[str, str] = {}
    for field, text, rule in (
        ("orgName", name, rules.checked_name),
        ("email", email, rules.checked_email),
    ):
        if text is None:
            continue
        try:
            checked[field] = rule(text)
        except rules.NotTaken as refused:
            faults[field] = [str(refused)]
    if faults:
        raise ValidationFailed(faults)
    return ContactChange(checked.get("orgName"), checked.get("email"))


def contact_of(organization: Organization, *, now: datetime) -> Contact:
    """Return the name and address of an organisation. `now` is real time."""
    pending = _open_changes(organization.org_id).filter(expires_at__gt=now).first()
    return Contact(
        organization.org_id,
        organization.name,
        organization.email,
        pending.email if pending else None,
    )


def request_change(*, org_id: str, change: ContactChange, now: datetime) -> Contact:
    """Change the name; send the new address its link. `now` is real time.

    The newest request counts: it replaces a link that is still out, and naming the
    address in force takes one back. Raises NotFound, Throttled.
    """
    with transaction.atomic(), history.because("changed by the owner"):
        organization = lock(org_id)
        _rename(organization, change.name, now=now)
        if change.email is not None:
            _withdraw(org_id, now=now)
            if change.email != organization.email:
                _ask(organization, change.email, now=now)
        return contact_of(organization, now=now)


def change_at_once(
    *, org_id: str, change: ContactChange, source: Source, because: str, now: datetime
) -> Contact:
    """Change name and address now, without a link; the old address is told. Raises NotFound.

    Takes back a link that is still out for another address. `now` is real time.
    """
    with transaction.atomic(), history.because(because):
        organization = lock(org_id)
        _rename(organization, change.name, now=now)
        if change.email is not None:
            _withdraw(org_id, now=now)
            if change.email != organization.email:
                write_email(organization, change.email, source=source, now=now)
                _send(organization, now=now)
        return contact_of(organization, now=now)


def look_at(*, token: str, now: datetime) -> EmailChange:
    """Return the change that a link would confirm; uses nothing up. Raises LinkGone."""
    change = EmailChange.objects.filter(token_hash=hashed(token)).first()
    if change is None or not change.is_open(now):
        raise LinkGone
    return change


def confirm(*, token: str, now: datetime) -> EmailChange:
    """Use a link up: its address is the organisation's from now on. Raises LinkGone."""
    org_id = look_at(token=token, now=now).org_id
    with transaction.atomic(), history.because("link opened"):
        organization = lock(org_id)
        # Looked at again under the lock: two clicks, or a request that replaced it meanwhile.
        change = look_at(token=token, now=now)
        change.confirmed_at = now
        change.previous_email = organization.email
        change.mail_due_at = now
        change.save(update_fields=["confirmed_at", "previous_email", "mail_due_at"])
        organization.email = change.email
        organization.save(update_fields=["email"])
        _send(organization, now=now)
        _mail(change)
    return change


def lock(org_id: str) -> Organization:
    """Lock and return an organisation. Raises NotFound."""
    organization = Organization.objects.select_for_update().filter(org_id=org_id).first()
    if organization is None:
        raise NotFound
    return organization


def write_email(organization: Organization, email: str, *, source: Source, now: datetime) -> None:
    """Write another address down, and that the old one is to be told. It is locked."""
    change = EmailChange.objects.create(
        uuid=uuid7(),
        org_id=organization.org_id,
        email=email,
        previous_email=organization.email,
        source=source,
        created_at=now,
        confirmed_at=now,
        mail_due_at=now,
    )
    organization.email = email
    organization.save(update_fields=["email"])
    _mail(change)


def link_token(change: EmailChange) -> str:
    """Return the token of a change's link: derived, so that it is stored nowhere."""
    return secrets.derived_link(f"email-change:{change.uuid}")


def _rename(organization: Organization, name: str | None, *, now: datetime) -> None:
    if name is None or name == organization.name:
        return
    organization.name = name
    organization.save(update_fields=["name"])
    _send(organization, now=now)


def _ask(organization: Organization, email: str, *, now: datetime) -> None:
    """Send the address its link. Raises Throttled."""
    throttles.count_email_link(organization.org_id, email)
    change = EmailChange(
        uuid=uuid7(),
        org_id=organization.org_id,
        email=email,
        previous_email=organization.email,
        source=Source.OWNER,
        created_at=now,
        expires_at=now + settings.EMAIL_LINK_LIFE,
        mail_due_at=now,
    )
    change.token_hash = hashed(link_token(change))
    change.save()
    _mail(change)


def _withdraw(org_id: str, *, now: datetime) -> None:
    _open_changes(org_id).update(withdrawn_at=now)


def _open_changes(org_id: str) -> QuerySet[EmailChange]:
    return EmailChange.objects.filter(org_id=org_id, confirmed_at=None, withdrawn_at=None)


def _send(organization: Organization, *, now: datetime) -> None:
    """Note that Stripe's customer has to follow, and ring for it after commit."""
    from billing.tasks import follow_contact  # tasks call this module: imported late

    organization.contact_version = F("contact_version") + 1
    if organization.contact_due_at is None:
        # Else somebody has it in hand, or waits for Stripe: who sends an older state now
        # must be done before this one is sent.
        organization.contact_due_at = now
    organization.save(update_fields=["contact_version", "contact_due_at"])
    organization.refresh_from_db(fields=["contact_version"])
    transaction.on_commit(lambda: ring(follow_contact, organization.org_id))


def _mail(change: EmailChange) -> None:
    from billing.tasks import mail_contact  # as above

    transaction.on_commit(lambda: ring(mail_contact, change.pk))
