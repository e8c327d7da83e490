"""What happened to an organisation, newest first, each in a plain sentence.

Out of three kinds of rows: the history tables (triggers copy every change of a
tracked row, so the change is what differs from the copy before), the audit of
codes and tokens, and the rows that staff's corrections leave.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.urls import reverse

from billing.models import InvoiceRef, Operation, Organization, Subscription
from config.backoffice.models import StaffAct
from config.backoffice.organisation import sentences
from config.backoffice.organisation.sentences import Change
from config.contract.history_admin import history_of
from quotas.models import Adjustment, CounterRepair, Entitlement, Forgiveness
from tokens.models import AuditEntry, OrgAccess
from usage.models import UsageVoid

#: How many rows are read of each table, and how many the page shows.
OF_EACH = 40
ROWS = 60


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the timeline: when, what, by whom, why, and what stood before and after."""

    at: datetime
    sentence: str
    who: str = ""
    why: str = ""
    request_id: str = ""
    changes: list[Change] = field(default_factory=list)
    url: str = ""


def timeline(org_id: str) -> list[Happening]:
    """Return the newest ROWS happenings. One query for each table that tells of any."""
    found: list[Happening] = []
    for tracked in (Entitlement, Subscription, Operation, InvoiceRef, Organization, OrgAccess):
        found += _of_history(tracked, org_id)
    found += _of_audit(org_id)
    found += _of_acts(org_id)
    for model, tell, at, who in _CORRECTIONS:
        found += _of_corrections(model, tell, at, who, org_id)
    return sorted(found, key=lambda one: one.at, reverse=True)[:ROWS]


def _of_history(tracked: type[Model], org_id: str) -> Iterator[Happening]:
    model = _history_model(tracked)
    copies = list(model._default_manager.filter(org_id=org_id).order_by("-pgh_id")[: OF_EACH + 1])
    # With no row cut off, an organisation's first copy is the first there is of it.
    complete = len(copies) <= OF_EACH
    before: dict[int, Any] = {}
    page = admin.site._registry[model]
    for copy in reversed(copies):
        earlier = before.get(copy.pgh_obj_id)
        before[copy.pgh_obj_id] = copy
        if earlier is None and not complete and copy.pgh_label != "insert":
            continue
        told = sentences.of_change(tracked, earlier, copy)
        if told is None:
            continue
        context = copy.pgh_context or {}
        yield Happening(
            at=copy.pgh_created_at,
            sentence=told.sentence,
            changes=told.changes,
            who=sentences.person(str(context.get("who") or "")),
            why=str(context.get("why") or ""),
            request_id=str(context.get("request_id") or ""),
            url=_page_of(page.model, copy.pk),
        )


def _of_audit(org_id: str) -> Iterator[Happening]:
    rows = AuditEntry.objects.filter(org_id=org_id).exclude(what__in=AuditEntry.ROUTINE)
    for row in rows.order_by("-at")[:OF_EACH]:
        yield Happening(
            at=row.at,
            sentence=sentences.of_audit(row),
            who=sentences.person(row.who),
            why=str(row.detail.get("reason") or ""),
            request_id=row.request_id,
            url=_page_of(AuditEntry, row.pk),
        )


def _of_acts(org_id: str) -> Iterator[Happening]:
    rows = StaffAct.objects.filter(org_id=org_id).select_related("end").order_by("-at")
    for row in rows[:OF_EACH]:
        ended = getattr(row, "end", None)
        yield Happening(
            at=row.at,
            sentence=sentences.of_act(row, ended),
            changes=[Change(what, before, after) for what, before, after in row.shown],
            who=row.username,
            why=row.reason,
            request_id=row.request_id,
            url=_page_of(StaffAct, row.pk),
        )


def _of_corrections(
    model: type[Model], tell: Callable[[Any], str], at: str, who: str, org_id: str
) -> Iterator[Happening]:
    rows: Iterable[Any] = model._default_manager.filter(org_id=org_id).order_by(f"-{at}")
    for row in rows[:OF_EACH]:  # type: ignore[index]
        yield Happening(
            at=getattr(row, at),
            sentence=tell(row),
            who=sentences.person(getattr(row, who)),
            why=getattr(row, "reason", ""),
            url=_page_of(model, row.pk),
        )


def _history_model(tracked: type[Model]) -> type[Any]:
    [found] = [
        model
        for model in history_of(tracked._meta.app_label)
        if getattr(model, "pgh_tracked_model", None) is tracked
    ]
    return found


def _page_of(model: type[Model], pk: Any) -> str:
    name = model._meta.label_lower.replace(".", "_")
    return reverse(f"admin:{name}_change", args=[pk])


_CORRECTIONS: tuple[tuple[type[Model], Callable[[Any], str], str, str], ...] = (
    (Adjustment, sentences.of_adjustment, "made_at", "made_by"),
    (Forgiveness, sentences.of_forgiveness, "made_at", "made_by"),
    (UsageVoid, sentences.of_void, "voided_at", "voided_by"),
    (CounterRepair, sentences.of_repair, "made_at", "made_by"),
)
