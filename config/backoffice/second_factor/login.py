"""Logging in with a second factor, at the page and at the API: one backend for both."""

from typing import Any

from django import forms
from django.contrib.auth import authenticate
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest
from unfold.forms import AuthenticationForm
from unfold.widgets import BASE_INPUT_CLASSES

from config.backoffice.acts import record
from config.backoffice.second_factor import devices, recovery
from config.contract import clock
from tokens.second_factor import device_of


class PasswordAndCode(ModelBackend):
    """The password, and the code (or a recovery code) of who has a second factor.

    A wrong code is a failed log-in like a wrong password: axes counts both, and
    nobody is told which of the two it was.
    """

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        otp_token: str = "",
        **more: Any,
    ) -> Any:
        """Return the user, or None."""
        user: Any = super().authenticate(request, username=username, password=password, **more)
        if user is None or not user.is_staff:
            return None  # nobody else logs in here: a failure like any other
        device = device_of(user)
        if device is None:
            return user
        if not _proves(user, otp_token):
            return None
        # Sessions and staff tokens note it (config.backoffice.sessions, tokens.staff).
        user.second_factor = device.persistent_id
        return user


def _proves(user: User, text: str) -> bool:
    """Tell whether `text` is what the user's app shows now, or a recovery code, used up by this."""
    if not recovery.looks_like_one(text):
        return devices.matches(user, text) is not None
    with transaction.atomic():
        if not recovery.use(user, text, now=clock.real_now()):
            return False
        user.recovery_codes_left = left = recovery.left(user)  # type: ignore[attr-defined]
        record.of_account(user, user, "recovery-code-used", f"at a log-in; {left} left")
    return True


class LogInForm(AuthenticationForm):  # type: ignore[misc]
    """Name, password and, from who has one, the code."""

    otp_token = forms.CharField(
        label="Code",
        required=False,
        max_length=16,
        help_text="From your authenticator app, if you have set one up; or a recovery code.",
        widget=forms.TextInput(
            attrs={
                "autocomplete": "one-time-code",
                "class": " ".join(BASE_INPUT_CLASSES),
            }
        ),
    )

    def clean(self) -> dict[str, Any]:
        """Log in with all three at once. Raises ValidationError, the same for each fault."""
        found: dict[str, Any] = self.cleaned_data
        username, password = found.get("username"), found.get("password")
        if username is not None and password:
            self.user_cache = authenticate(
                self.request,
                username=username,
                password=password,
                otp_token=found.get("otp_token") or "",
            )
            if self.user_cache is None:
                raise self.get_invalid_login_error()
            self.confirm_login_allowed(self.user_cache)
        return found
