"""The pages of an act: what for whom and why → what would change → done.

Nothing is done by a GET, and nothing by the first POST. What the confirmation
page shows travels in it, signed for this member of staff; it is looked at again
before anything is done, and where the world has moved on it is shown anew.
"""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from billing.models import Organization
from config.backoffice.acts import record
from config.backoffice.acts.base import Act, By, Done, Effect
from config.backoffice.acts.forms import ActForm
from config.backoffice.acts.registry import ACTS, acts_open_to
from config.backoffice.models import StaffAct
from config.contract import clock, history
from config.contract.database_errors import passes
from config.contract.errors import ApiError, Unavailable
from config.contract.ids import is_well_formed

#: How old a confirmation may be, in seconds; as long as a price stands that was previewed.
CONFIRMATION_LIFE = 15 * 60
#: Refusals that say: what was shown is not so any more.
_STALE = frozenset({"PREVIEW_STALE"})


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """Everything that this member of staff may do, by subject."""
    groups: dict[str, list[Any]] = {}
    for offer in acts_open_to(request.user):
        groups.setdefault(offer.group, []).append(offer)
    return _page(request, "index", {"title": "Acts", "groups": groups})


@require_http_methods(["GET", "POST"])
def page(request: HttpRequest, name: str) -> HttpResponse:
    """One act. Raises PermissionDenied for who may not do it."""
    act = ACTS.get(name)
    if act is None:
        raise Http404
    if not act.open_to(request.user):
        raise PermissionDenied
    if request.method == "GET":
        return begin(request, act, request.GET.dict())
    if "confirmation" in request.POST:
        return _confirmed(request, act)
    form = act.form(request.POST)
    return _show(request, act, form) if form.is_valid() else _ask(request, act, form)


def begin(request: HttpRequest, act: Act, initial: dict[str, Any]) -> HttpResponse:
    """Ask what, for whom and why."""
    return _ask(request, act, act.form(initial=initial))


def _ask(request: HttpRequest, act: Act, form: ActForm) -> HttpResponse:
    org_id = str(form["org_id"].value() or "") if "org_id" in form.fields else ""
    context = {
        "title": act.title,
        "act": act,
        "form": form,
        "organization": _organization(org_id),
    }
    return _page(request, "form", context)


def _organization(org_id: str) -> Organization | None:
    # Out of the address: PostgreSQL takes no NUL.
    return Organization.objects.filter(org_id=org_id).first() if is_well_formed(org_id) else None


def _show(
    request: HttpRequest, act: Act, form: ActForm, *, why_again: str = "", status: int = 200
) -> HttpResponse:
    """Show what would change, to be confirmed."""
    try:
        effect = _effect(act, form)
    except ApiError as error:
        return _refused(request, act, form, error)
    return _confirm(request, act, form, effect, why_again=why_again, status=status)


def _confirm(
    request: HttpRequest,
    act: Act,
    form: ActForm,
    effect: Effect,
    *,
    why_again: str = "",
    status: int = 200,
) -> HttpResponse:
    shown = {"uuid": str(uuid4()), "form": form.frozen(), "facts": effect.facts}
    context = {
        "title": act.title,
        "act": act,
        "effect": effect,
        "reason": form.cleaned_data["reason"],
        "organization": _organization(act.org_of(form.cleaned_data)),
        "confirmation": signing.dumps(shown, salt=_salt(request, act), compress=True),
        "back": _address(act, form.frozen()),
        "why_again": why_again,
    }
    return _page(request, "confirm", context, status=status)


def _confirmed(request: HttpRequest, act: Act) -> HttpResponse:
    try:
        shown = signing.loads(request.POST["confirmation"], salt=_salt(request, act))
    except signing.BadSignature:
        messages.error(request, "That confirmation was not made for you. Begin again.")
        return HttpResponseRedirect(reverse("act", args=[act.name]))
    used = StaffAct.objects.filter(uuid=shown["uuid"]).first()
    if used is not None:
        return _again(request, used)
    form = act.form(shown["form"])
    if not form.is_valid():
        return _ask(request, act, form)
    try:
        effect = _effect(act, form)
    except ApiError as error:
        return _refused(request, act, form, error)
    if effect.idle or _is_old(request, act) or not act.still_holds(shown["facts"], effect.facts):
        return _stale(request, act, form, effect)
    return _do(request, act, form, effect, shown)


def _effect(act: Act, form: ActForm) -> Effect:
    try:
        return act.effect(form.cleaned_data)
    except Error as error:
        if not passes(error):
            raise
        raise Unavailable("The database did not answer in time. Try again.") from None


def _do(
    request: HttpRequest, act: Act, form: ActForm, effect: Effect, shown: dict[str, Any]
) -> HttpResponse:
    user, asked = _user(request), form.cleaned_data
    by = By(record.who(user), UUID(shown["uuid"]))
    row = record.begin(act, asked, effect, uuid=by.uuid, user=user)
    if row is None:
        return _again(request, StaffAct.objects.get(uuid=by.uuid))
    try:
        with history.because(asked["reason"], who=by.who):
            done = act.do(asked, shown["facts"], by)
    except ApiError as error:
        record.end(row, said=f"{error.code}: {error.message}", failed=True)
        if error.code in _STALE:
            return _show(request, act, form, why_again=_MOVED_ON, status=409)
        return _refused(request, act, form, error)
    except Exception as error:
        record.end(row, said=type(error).__name__, failed=True)
        if not passes(error):
            raise
        busy = Unavailable("The database did not answer in time. See whether it took effect.")
        return _refused(request, act, form, busy)
    record.end(row, said=done.said)
    return _done(request, act, row, done)


def _done(request: HttpRequest, act: Act, row: StaffAct, done: Done) -> HttpResponse:
    if done.secret:
        # In this answer and nowhere else: not in a message, which a cookie would hold.
        context = {"title": act.title, "done": done, "back": _home(row)}
        response = _page(request, "secret", context)
        response.headers["Cache-Control"] = "no-store"
        return response
    messages.success(request, done.said)
    return HttpResponseRedirect(_home(row))


def _again(request: HttpRequest, row: StaffAct) -> HttpResponse:
    messages.warning(request, "That was confirmed before, and was not done again. It ended so:")
    return HttpResponseRedirect(reverse("admin:backoffice_staffact_change", args=[row.pk]))


_MOVED_ON = "What this would change has changed since you looked. Nothing was done; look again."
_TOO_OLD = "You looked a while ago. Nothing was done; look again."
_NOTHING_LEFT = "There is nothing left to change. Nothing was done."


def _stale(request: HttpRequest, act: Act, form: ActForm, effect: Effect) -> HttpResponse:
    why = _TOO_OLD if _is_old(request, act) else _MOVED_ON
    why = _NOTHING_LEFT if effect.idle else why
    return _confirm(request, act, form, effect, why_again=why, status=409)


def _refused(request: HttpRequest, act: Act, form: ActForm, error: ApiError) -> HttpResponse:
    """Show the form again with what the service said, under its own words."""
    details: dict[str, Any] = dict(error.details or {})
    fields = details.get("fields") or {}
    if not fields:
        why = _REASONS.get(str(details.get("reason")), "")
        form.add_error(None, f"{error.message.rstrip('.')}. {why}".strip())
    for path, texts in fields.items():
        name = _snake(path)
        form.add_error(name if name in form.fields else None, texts)
    return _ask(request, act, form)


#: Why a payment was not possible, in words for staff.
_REASONS = {
    "card_declined": "The card was declined.",
    "payment_method_required": "There is no card on file.",
    "authentication_required": "The bank wants the owner to confirm it.",
}


def _is_old(request: HttpRequest, act: Act) -> bool:
    try:
        signing.loads(
            request.POST["confirmation"], salt=_salt(request, act), max_age=CONFIRMATION_LIFE
        )
    except signing.SignatureExpired:
        return True
    return False


def _salt(request: HttpRequest, act: Act) -> str:
    return f"act:{act.name}:{_user(request).pk}"


def _address(act: Act, begin: dict[str, Any]) -> str:
    query = urlencode({name: value for name, value in begin.items() if value}, doseq=True)
    return f"{reverse('act', args=[act.name])}?{query}"


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # noqa: S101 - admin_view lets nobody else in
    return request.user


def _home(row: StaffAct) -> str:
    if Organization.objects.filter(org_id=row.org_id).exists():
        return reverse("organisation", args=[row.org_id])
    return reverse("admin:backoffice_staffact_change", args=[row.pk])


def _snake(path: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in path)


def _page(
    request: HttpRequest, template: str, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    full = {**admin.site.each_context(request), **context, "now": clock.now()}
    return render(request, f"admin/acts/{template}.html", full, status=status)
