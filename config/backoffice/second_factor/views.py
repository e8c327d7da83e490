"""The page on which a member of staff sets a second factor up; a superuser takes theirs away."""

from base64 import b32encode
from typing import Any
from urllib.parse import quote, urlencode

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods
from unfold.widgets import INPUT_CLASSES, UnfoldAdminPasswordWidget

from config.backoffice.acts import record
from config.backoffice.second_factor import devices

_KEY = "second_factor_key"


class ProofForm(forms.Form):
    """That it is really them: the password, and what the app shows."""

    password = forms.CharField(
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "current-password"})
    )
    code = forms.CharField(
        max_length=16,
        help_text="The six digits that the app shows now.",
        widget=forms.TextInput(
            attrs={
                "autocomplete": "one-time-code",
                "inputmode": "numeric",
                "class": " ".join(INPUT_CLASSES),
            }
        ),
    )


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    """Show how to set it up, or that it is; do either on proof."""
    if not settings.STAFF_MFA:
        raise Http404
    user = request.user
    assert isinstance(user, User)  # noqa: S101 - admin_view lets nobody else in
    form = ProofForm(request.POST or None)
    device = devices.device_of(user)
    if device and request.method == "POST" and not user.is_superuser:
        raise PermissionDenied  # who has taken a session over must not take this away as well
    if form.is_valid() and not user.check_password(form.cleaned_data["password"]):
        form.add_error("password", "That is not your password")
    if form.is_valid():
        done = _remove if device else _set_up
        if done(request, user, form.cleaned_data["code"]):
            return HttpResponseRedirect(reverse("second-factor"))
        form.add_error("code", "That is not what the app shows now. Wait for the next code.")
    return _show(request, user, form, device)


def _set_up(request: HttpRequest, user: User, code: str) -> bool:
    key = request.session.get(_KEY)
    if not key or not devices.confirm(user, key, code, session_key=request.session.session_key):
        return False
    del request.session[_KEY]
    record.of_account(user, user, "second-factor-on", "set up by its owner")
    messages.success(request, "Set up. Your other sessions have ended; from now on log in with it.")
    return True


def _remove(request: HttpRequest, user: User, code: str) -> bool:
    if devices.matches(user, code) is None:
        return False
    devices.forget(user)
    record.of_account(user, user, "second-factor-off", "taken away by its owner")
    messages.warning(request, "Taken away. You log in with your password alone.")
    return True


def _show(request: HttpRequest, user: User, form: ProofForm, device: Any) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": "Second factor", "form": form}
    if device is not None:
        context |= {"device": device}
    else:
        key = bytes.fromhex(request.session.setdefault(_KEY, devices.new_key()))
        written = b32encode(key).decode()
        context |= {"key": written, "picture": _picture(_address(user, written))}
    response = render(request, "admin/second_factor.html", context)
    response.headers["Cache-Control"] = "no-store"
    return response


def _address(user: User, key: str) -> str:
    """Return what authenticator apps read: otpauth://totp/…"""
    label = quote(f"{settings.OTP_TOTP_ISSUER}:{user.get_username()}")
    return (
        f"otpauth://totp/{label}?{urlencode({'secret': key, 'issuer': settings.OTP_TOTP_ISSUER})}"
    )


def _picture(address: str) -> SafeString:
    """Return a QR code as SVG; nothing of it is text that somebody else wrote."""
    import qrcode
    from qrcode.image.svg import SvgPathImage

    drawn = qrcode.make(address, image_factory=SvgPathImage, box_size=8, border=2)
    return SafeString(drawn.to_string(encoding="unicode"))
