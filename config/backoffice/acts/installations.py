"""Acts on activation codes and installations."""

from django import forms
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from config.backoffice.acts.base import Act, Asked, By, Change, Done, Effect, Facts, OrgAct
from config.backoffice.acts.forms import OrgActForm, text
from config.contract import clock
from config.contract.errors import NotFound
from tokens import codes, families, scopes
from tokens.models import ActivationCode, TokenFamily

_PERMISSION = "backoffice.manage_installations"


class CodeForm(OrgActForm):
    """For where, and to do what."""

    domain = text(
        "Domain",
        most=300,
        required=False,
        help_text="Its tokens work only there. Empty: anywhere, as for a server.",
    )
    scopes = forms.MultipleChoiceField(
        choices=[(one, one) for one in sorted(scopes.ORGANISATION)],
        initial=list(scopes.INSTALLATION),
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        help_text="Whoever has billing:write can change the plan and make further codes.",
    )


class IssueCode(OrgAct):
    """POST /api/tokens/codes, and manage.py issue_code."""

    name = "issue-code"
    title = "Issue an activation code"
    about = (
        "Makes a one-time code, good for fifteen minutes, that an installation trades for its"
        " tokens. Be sure of whom you give it to: whoever has it acts for the organisation."
    )
    group = "Access"
    icon = "pin"
    permission = _PERMISSION
    form = CodeForm

    def effect(self, asked: Asked) -> Effect:
        """Return what the code would carry."""
        found = codes.preview_code(
            org_id=asked["org_id"],
            domain=asked["domain"] or None,
            wanted=asked["scopes"],
            now=clock.real_now(),
        )
        return Effect(
            [
                Change(
                    "Installations and waiting codes",
                    f"{found.installations} of {found.limit}",
                    f"{found.installations + 1} of {found.limit}",
                ),
                Change("The code works", "–", f"on {found.domain}" if found.domain else "anywhere"),
                Change("The code allows", "–", ", ".join(found.scopes)),
            ],
            {"domain": found.domain, "scopes": found.scopes},
        )

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Make it."""
        made = codes.create_code(
            org_id=asked["org_id"],
            issued_by=by.who,
            now=clock.real_now(),
            domain=asked["domain"] or None,
            wanted=asked["scopes"],
        )
        until = f"{made.expires_at:%H:%M}"
        return Done(f"Activation code made. It is good for one use until {until} UTC.", made.code)


class CodeIdForm(OrgActForm):
    """Which code; the code itself is not known here."""

    code_id = forms.IntegerField(label="Number of the code", min_value=1)


class RevokeCode(Act):
    """A code that nobody used yet."""

    name = "revoke-code"
    title = "Revoke this code"
    about = "Ends a code that waits to be used. Nobody can activate with it any more."
    group = "Access"
    icon = "pin_off"
    permission = _PERMISSION
    form = CodeIdForm
    dangerous = True
    rows = {"tokens.ActivationCode": lambda row: _waiting_code(row)}

    def effect(self, asked: Asked) -> Effect:
        """Return what the code is."""
        row = ActivationCode.objects.filter(org_id=asked["org_id"], pk=asked["code_id"]).first()
        if row is None:
            raise NotFound("The organisation has no such code")
        waits = _waiting_code(row) is not None
        return Effect(
            [Change(f"Code {row.pk} of {row.created_at:%Y-%m-%d %H:%M}", "waits", "revoked")],
            {"waits": waits},
            [] if waits else ["It was used, revoked or is over."],
            idle=not waits,
        )

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Revoke it."""
        if not codes.revoke_code(
            org_id=asked["org_id"], code_id=asked["code_id"], who=by.who, now=clock.real_now()
        ):
            raise NotFound("The code was used meanwhile: revoke its installation")
        return Done("Code revoked.")


class FamilyForm(OrgActForm):
    """Which installation."""

    family_id = text("Installation", most=30, help_text="Its id, such as fam_01K…")


class RevokeInstallation(Act):
    """DELETE /api/tokens/{id}, and manage.py revoke_tokens ORG --family ID."""

    name = "revoke-installation"
    title = "Revoke this installation"
    about = "Ends one installation at its next request. It needs a new code to come back."
    group = "Access"
    icon = "phonelink_off"
    permission = _PERMISSION
    form = FamilyForm
    dangerous = True
    rows = {"tokens.TokenFamily": lambda row: _live_family(row)}

    def effect(self, asked: Asked) -> Effect:
        """Return what the installation is."""
        row = TokenFamily.objects.filter(org_id=asked["org_id"], id=asked["family_id"]).first()
        if row is None:
            raise NotFound("The organisation has no such installation")
        used = row.last_refreshed_at or row.created_at
        lives = _live_family(row) is not None
        return Effect(
            [Change(row.domain or row.id, f"last refreshed {used:%Y-%m-%d %H:%M}", "revoked")],
            {"lives": lives},
            [] if lives else ["It was revoked or is over."],
            idle=not lives,
        )

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Revoke it."""
        families.revoke_family(
            org_id=asked["org_id"], family_id=asked["family_id"], who=by.who, now=clock.real_now()
        )
        return Done("Installation revoked. Its tokens are refused from its next request on.")


class RevokeAll(OrgAct):
    """manage.py revoke_tokens ORG."""

    name = "revoke-all"
    title = "Revoke all installations"
    about = (
        "Ends every installation of the organisation and its waiting codes. Each needs a new code"
        " to come back: to shut it out for a while, suspend it instead."
    )
    group = "Access"
    icon = "phonelink_erase"
    permission = _PERMISSION
    dangerous = True

    def effect(self, asked: Asked) -> Effect:
        """Return how many."""
        org_id, now = asked["org_id"], clock.real_now()
        live = families.live_families(org_id, now=now).count()
        waiting = families.waiting_codes(org_id, now=now).count()
        return Effect(
            [
                Change("Live installations", str(live), "0"),
                Change("Waiting codes", str(waiting), "0"),
            ],
            {"live": live, "waiting": waiting},
            [] if live or waiting else ["There is none."],
            idle=not live and not waiting,
        )

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Revoke them."""
        ended = families.revoke_all(org_id=asked["org_id"], who=by.who, now=clock.real_now())
        return Done(f"{ended} installations and waiting codes revoked.")


def _waiting_code(row: ActivationCode) -> dict[str, str] | None:
    if row.used_at or row.revoked_at or row.expires_at <= clock.real_now():
        return None
    return {"org_id": row.org_id, "code_id": str(row.pk)}


def _live_family(row: TokenFamily) -> dict[str, str] | None:
    if row.revoked_at or row.expires_at <= clock.real_now():
        return None
    return {"org_id": row.org_id, "family_id": row.id}
