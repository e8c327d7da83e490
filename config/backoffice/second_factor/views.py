"""The page on which a member of staff sets a second factor up, and makes recovery codes.

A superuser takes theirs away here too. Everything is done on proof: the password, and what
the app shows.
"""

from base64 import b32encode
from typing import Any
from urllib.parse import quote, urlencode

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth import logout
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods
from unfold.widgets import INPUT_CLASSES, UnfoldAdminPasswordWidget

from config.backoffice import sessions
from config.backoffice.acts import record
from config.backoffice.second_factor import devices, recovery
from config.contract import clock
from tokens.second_factor import device_of

_KEY = "second_factor_key"
_WRONG_CODE = "That is not what the app shows now. Wait for the next code."


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
    """Show how to set it up, or that it is; do what is asked for on proof."""
    if not settings.STAFF_MFA:
        raise Http404
    user = request.user
    assert isinstance(user, User)  # noqa: S101 - admin_view lets nobody else in
    device = device_of(user)
    if device is not None and sessions.must_prove(request):
        return _log_in_again(request)
    if request.method == "GET":
        return _show(request, user, ProofForm(), device)
    return _set_up(request, user) if device is None else _change(request, user, device)


def _log_in_again(request: HttpRequest) -> HttpResponse:
    """End a session that began before the second factor that it would need was there."""
    logout(request)
    messages.info(request, "Log in again, with your second factor.")
    return HttpResponseRedirect(reverse("admin:login"))


def _set_up(request: HttpRequest, user: User) -> HttpResponse:
    form = _proof(request, user)
    key = request.session.get(_KEY)
    if not form.is_valid() or not key:
        return _show(request, user, form, None)
    code, session_key = form.cleaned_data["code"], request.session.session_key
    codes = devices.confirm(user, key, code, session_key=session_key)
    if codes is None:
        form.add_error("code", _WRONG_CODE)
        return _show(request, user, form, None)
    del request.session[_KEY]
    sessions.prove(request.session)
    record.of_account(user, user, "second-factor-on", "set up by its owner")
    said = "Set up. Your other sessions have ended; from now on log in with it."
    return _show_codes(request, codes, said)


def _change(request: HttpRequest, user: User, device: Any) -> HttpResponse:
    """Make new recovery codes, or take the second factor away."""
    act = request.POST.get("act")
    if act == "set-up":  # the page that showed the codes, sent again
        return HttpResponseRedirect(reverse("second-factor"))
    if act != "codes" and not user.is_superuser:
        raise PermissionDenied  # who has taken a session over must not take this away as well
    form = _proof(request, user)
    if form.is_valid() and devices.matches(user, form.cleaned_data["code"]) is None:
        form.add_error("code", _WRONG_CODE)
    if not form.is_valid():
        return _show(request, user, form, device)
    return _renew(request, user) if act == "codes" else _remove(request, user)


def _renew(request: HttpRequest, user: User) -> HttpResponse:
    codes = recovery.renew(user, now=clock.real_now())
    record.of_account(user, user, "recovery-codes-made", "made by their owner")
    return _show_codes(request, codes, "These take the place of all recovery codes before them.")


def _remove(request: HttpRequest, user: User) -> HttpResponse:
    devices.remove(user, session_key=request.session.session_key)
    sessions.disprove(request.session)
    record.of_account(user, user, "second-factor-off", "taken away by its owner")
    messages.warning(request, "Taken away. Your other sessions have ended.")
    return HttpResponseRedirect(reverse("second-factor"))


def _proof(request: HttpRequest, user: User) -> ProofForm:
    form = ProofForm(request.POST)
    if form.is_valid() and not user.check_password(form.cleaned_data["password"]):
        form.add_error("password", "That is not your password")
    return form


def _show(request: HttpRequest, user: User, form: ProofForm, device: Any) -> HttpResponse:
    context: dict[str, Any] = {"form": form, "needed": settings.STAFF_MFA_REQUIRED}
    if device is not None:
        context |= {"device": device, "codes_left": recovery.left(user)}
    else:
        key = bytes.fromhex(request.session.setdefault(_KEY, devices.new_key()))
        written = b32encode(key).decode()
        context |= {"key": written, "picture": _picture(_address(user, written))}
    return _page(request, "second_factor", context)


def _show_codes(request: HttpRequest, codes: list[str], said: str) -> HttpResponse:
    """Show recovery codes: in this answer and nowhere else."""
    return _page(request, "recovery_codes", {"codes": codes, "said": said})


def _page(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    # Who may do nothing else yet is shown nothing else.
    halfway = sessions.must_prove(request)
    layout = "unfold/layouts/unauthenticated.html" if halfway else "admin/base_site.html"
    full = {**admin.site.each_context(request), "title": "Second factor", "layout": layout}
    response = render(request, f"admin/{template}.html", {**full, **context, "halfway": halfway})
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
    svg = drawn.to_string(encoding="unicode")
    return SafeString(svg.replace("<svg ", '<svg aria-hidden="true" ', 1))
