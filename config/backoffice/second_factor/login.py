"""Logging in with a second factor, at the page and at the API: one backend for both."""

from typing import Any

from django import forms
from django.contrib.auth import authenticate
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest
from unfold.forms import AuthenticationForm
from unfold.widgets import BASE_INPUT_CLASSES

from config.backoffice.second_factor import devices


class PasswordAndCode(ModelBackend):
    """The password, and the code of who has a second factor.

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
        if devices.device_of(user) is None:
            return user
        device = devices.matches(user, otp_token)
        if device is None:
            return None
        user.otp_device = device  # django-otp notes it in the session
        return user


class LogInForm(AuthenticationForm):  # type: ignore[misc]
    """Name, password and, from who has one, the code."""

    otp_token = forms.CharField(
        label="Code",
        required=False,
        max_length=16,
        help_text="From your authenticator app, if you have set one up.",
        widget=forms.TextInput(
            attrs={
                "autocomplete": "one-time-code",
                "inputmode": "numeric",
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
