"""Acts on the credentials of the company's own backends."""

from typing import ClassVar

from django import forms
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from config.backoffice.acts.base import Act, Asked, By, Change, Done, Effect, Facts
from config.backoffice.acts.forms import ActForm, text
from config.contract import clock
from config.contract.errors import NotFound
from tokens import operators, scopes
from tokens.models import OperatorKey

_PERMISSION = "backoffice.manage_operators"


class OperatorForm(ActForm):
    """For what, and to do what."""

    key_name = text("Name", most=100, help_text="What will use it, such as gateway.")
    scopes = forms.MultipleChoiceField(
        choices=[(one, one) for one in sorted(scopes.OPERATOR)],
        initial=list(scopes.INSTALLATION),
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
    )


class CreateOperatorKey(Act):
    """manage.py operator_key create."""

    name = "create-operator-key"
    title = "Make an operator credential"
    about = (
        "For a backend of our own that meters many organisations. Whoever holds its secret acts"
        " for every one of them."
    )
    group = "Operators"
    icon = "vpn_key"
    permission = _PERMISSION
    form = OperatorForm
    dangerous = True

    def effect(self, asked: Asked) -> Effect:
        """Return what it would be."""
        return Effect(
            [
                Change("Credential", "–", asked["key_name"]),
                Change("May act for", "–", "every organisation"),
                Change("Scopes", "–", ", ".join(sorted(asked["scopes"]))),
            ],
            {},
        )

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Make it."""
        made = operators.create(
            name=asked["key_name"], wanted=asked["scopes"], who=by.who, now=clock.real_now()
        )
        return Done(f"Credential {made.key_id} made.", f"{made.key_id} {made.secret}")


class KeyForm(ActForm):
    """Which credential."""

    key_id = text("Key id", most=30, help_text="Such as opk_01K…")


class _OnKey(Act):
    """Something done to one credential."""

    group = "Operators"
    permission = _PERMISSION
    form = KeyForm
    rows = {
        "tokens.OperatorKey": lambda row: None if row.revoked_at else {"key_id": row.key_id},
    }
    #: What becomes of the secrets.
    secrets_after: ClassVar[str]

    def effect(self, asked: Asked) -> Effect:
        """Return its secrets before and after."""
        row = OperatorKey.objects.filter(key_id=asked["key_id"]).first()
        if row is None:
            raise NotFound("There is no such credential")
        held = 2 if row.previous_secret_hash is not None else 1
        used = f"{row.last_used_at:%Y-%m-%d %H:%M} UTC" if row.last_used_at else "never"
        why_not = self.why_not(row)
        return Effect(
            [Change(f"Secrets of {row.name}", f"{held} live", self.secrets_after)],
            {"secrets": held, "rotated": str(row.rotated_at), "revoked": str(row.revoked_at)},
            [f"Last used {used}, {row.uses:,} times in all.", *([why_not] if why_not else [])],
            idle=bool(why_not),
        )

    def why_not(self, row: OperatorKey) -> str:
        """Return why there is nothing to do, where there is not."""
        return "It is revoked." if row.revoked_at else ""


class RotateOperatorKey(_OnKey):
    """manage.py operator_key rotate."""

    name = "rotate-operator-key"
    title = "Make a second secret"
    about = (
        "Makes a new secret. The one before goes on working until it is dropped, or until the"
        " next rotation."
    )
    icon = "autorenew"
    secrets_after = "2 live: the new one and the one before"

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Make it."""
        made = operators.rotate(key_id=asked["key_id"], who=by.who, now=clock.real_now())
        return Done(f"A new secret of {made.key_id} was made.", made.secret)


class DropOperatorSecret(_OnKey):
    """manage.py operator_key drop-previous."""

    name = "drop-operator-key-secret"
    title = "Drop the previous secret"
    about = "Ends the secret from before the last rotation."
    icon = "key_off"
    secrets_after = "1 live: the newest"
    dangerous = True

    def why_not(self, row: OperatorKey) -> str:
        """There has to be one."""
        return super().why_not(row) or (
            "" if row.previous_secret_hash is not None else "It has one secret only."
        )

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Drop it."""
        operators.drop_previous(key_id=asked["key_id"], who=by.who, now=clock.real_now())
        return Done("The previous secret was dropped.")


class RevokeOperatorKey(_OnKey):
    """manage.py operator_key revoke."""

    name = "revoke-operator-key"
    title = "Revoke this credential"
    about = "Ends a credential, and at their next request the tokens that were got with it."
    icon = "block"
    secrets_after = "none"
    dangerous = True

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Revoke it."""
        operators.revoke(key_id=asked["key_id"], who=by.who, now=clock.real_now())
        return Done("Credential revoked.")
