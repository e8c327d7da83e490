"""Acts on accounts of staff."""

from django import forms
from django.conf import settings
from django.contrib.auth.models import User

from config.backoffice.acts.base import Act, Asked, By, Change, Done, Effect, Facts
from config.backoffice.acts.forms import ActForm, text
from config.backoffice.second_factor import devices
from config.contract.errors import NotFound
from tokens.second_factor import device_of


class AccountForm(ActForm):
    """Whose."""

    username = text("Username", most=150)

    def clean_username(self) -> str:
        """Return the name of an account that there is."""
        name = str(self.cleaned_data["username"])
        if not User.objects.filter(username=name).exists():
            raise forms.ValidationError("No such account")
        return name


class RemoveSecondFactor(Act):
    """manage.py remove_second_factor."""

    name = "remove-second-factor"
    title = "Remove a second factor"
    about = (
        "For somebody who lost their authenticator app: the password alone lets them in again."
        " Their recovery codes and sessions end. Be sure that it is they who ask."
    )
    group = "Staff"
    icon = "phonelink_lock"
    # Superusers only, like everything about accounts: no group of one's own holds it either.
    permission = "auth.change_user"
    superusers_only = True
    form = AccountForm
    dangerous = True

    def effect(self, asked: Asked) -> Effect:
        """Return what they log in with."""
        device = device_of(_user(asked))
        return Effect(
            [Change(f"{asked['username']} logs in with", "password and code", "password alone")],
            {"device": device.pk if device else None},
            [] if device else ["The account has no second factor."],
            idle=device is None,
        )

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Take it away."""
        if not settings.STAFF_MFA or not devices.remove(_user(asked)):
            raise NotFound("The account has no second factor")
        return Done(f"{asked['username']} logs in with the password alone.")


def _user(asked: Asked) -> User:
    return User.objects.get(username=asked["username"])
