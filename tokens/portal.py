"""Links to the owner's usage page: made by a token, used once, and then a visit.

A link is of use only as long as what made it: its family (or operator key) is
alive and the organisation not suspended. That is looked up on each request, in
PostgreSQL: the pages are not hot.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest

from django.conf import settings
from django.db import transaction

from tokens import scopes, secrets
from tokens.models import OPERATOR_KEY_PREFIX, OrgAccess, PortalLink, TokenFamily
from tokens.principals import Principal
from tokens.services import audit

#: A double click of the button that opens a link, in the same browser, is one click.
GRACE = timedelta(seconds=10)


class LinkGone(Exception):
    """The link is unknown, used, expired, or what made it has ended: they look the same."""


@dataclass(frozen=True, slots=True)
class NewLink:
    """A link's token in clear, shown once."""

    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody who came by a link, and what they may do. `ends_at` is real time."""

    link_id: int
    org_id: str
    family_id: str
    scopes: frozenset[str]
    ends_at: datetime

    @property
    def who(self) -> str:
        """How the audit trail calls the visitor."""
        return f"portal:{self.link_id}"

    @property
    def may_act(self) -> bool:
        """Whether the token that made the link may change plan and payment."""
        return scopes.BILLING_WRITE in self.scopes


def make_link(*, caller: Principal, now: datetime) -> NewLink:
    """Make a link for the organisation the caller acts for. `now` is real time."""
    made = NewLink(secrets.new_link_token(), now + settings.PORTAL_LINK_LIFE)
    with transaction.atomic():
        PortalLink.objects.create(
            token_hash=secrets.hashed(made.token),
            org_id=caller.org_id,
            family_id=caller.family_id,
            made_by=caller.subject,
            scopes=sorted(caller.scopes & scopes.ORGANISATION),
            created_at=now,
            expires_at=made.expires_at,
        )
        audit(
            org_id=caller.org_id,
            what="portal_link_made",
            who=caller.subject,
            now=now,
            family_id=caller.family_id,
        )
    return made


def look_at(*, token: str, now: datetime) -> None:
    """Say nothing where a link can be used; nothing is used up. Raises LinkGone."""
    link = PortalLink.objects.filter(
        token_hash=secrets.hashed(token), used_at=None, expires_at__gt=now
    ).first()
    if link is None or not _is_backed(link, now=now):
        raise LinkGone


def open_visit(*, token: str, nonce: str, now: datetime) -> tuple[str, Visit]:
    """Use a link up; return the secret of the visit, and the visit.

    `nonce` is of the browser: it gets the same visit for a second click within
    GRACE, and nobody else gets any. Raises LinkGone.
    """
    secret = secrets.visit_of(token, nonce)
    with transaction.atomic():
        link = (
            PortalLink.objects.select_for_update()
            .filter(token_hash=secrets.hashed(token), expires_at__gt=now, closed_at=None)
            .first()
        )
        if link is None or not _is_backed(link, now=now):
            raise LinkGone
        if link.used_at is None:
            link.used_at = now
            link.session_hash = secrets.hashed(secret)
            link.session_expires_at = now + settings.PORTAL_VISIT_LIFE
            link.save(update_fields=["used_at", "session_hash", "session_expires_at"])
            note(_visit(link), what="portal_link_used", now=now)
        elif now - link.used_at > GRACE or not compare_digest(
            bytes(link.session_hash or b""), secrets.hashed(secret)
        ):
            raise LinkGone
    return secret, _visit(link)


def visit_by(*, secret: str, now: datetime) -> Visit | None:
    """Return the visit a browser's secret belongs to; None once it is over, for any reason."""
    link = PortalLink.objects.filter(
        session_hash=secrets.hashed(secret), closed_at=None, session_expires_at__gt=now
    ).first()
    if link is None or not _is_backed(link, now=now):
        return None
    return _visit(link)


def close_visit(visit: Visit, *, now: datetime) -> None:
    """End a visit before its time."""
    with transaction.atomic():
        if PortalLink.objects.filter(pk=visit.link_id, closed_at=None).update(closed_at=now):
            note(visit, what="portal_closed", now=now)


def note(visit: Visit, *, what: str, now: datetime, **detail: str) -> None:
    """Write into the audit trail what the visitor does. `now` is real time."""
    audit(
        org_id=visit.org_id,
        what=what,
        who=visit.who,
        now=now,
        family_id=visit.family_id,
        **detail,
    )


def _visit(link: PortalLink) -> Visit:
    return Visit(
        link_id=link.pk,
        org_id=link.org_id,
        family_id=link.family_id,
        scopes=frozenset(link.scopes),
        ends_at=link.session_expires_at or link.expires_at,
    )


def _is_backed(link: PortalLink, *, now: datetime) -> bool:
    """Tell whether the organisation may call, and what made the link is alive."""
    may_call = OrgAccess.objects.filter(suspended_at=None)
    if not may_call.filter(org_id=link.org_id).exists():
        return False
    if link.family_id.startswith(f"{OPERATOR_KEY_PREFIX}_"):
        # A revoked key is suspended in its own row of access.
        return may_call.filter(org_id=link.family_id).exists()
    return TokenFamily.objects.filter(
        pk=link.family_id, org_id=link.org_id, revoked_at=None, expires_at__gt=now
    ).exists()
