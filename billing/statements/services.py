"""Showing, sealing and verifying statements.

A closed period's statement is sealed once: an HMAC under a key that is not in
the database, over its canonical rows and the digest before it. Who changes a
row of a closed period afterwards, or a sealed statement, breaks the chain from
there on, and `verify_statements` says where.
"""

import csv
import hashlib
import hmac
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from django.conf import settings
from django.db import transaction

from billing.models import Organization, Statement
from billing.statements import body
from config.contract import clock, csvtext
from config.contract.errors import NotFound
from config.contract.ids import is_well_formed
from config.contract.snapshot import one_snapshot
from quotas.rollover import close_ended

Json = dict[str, Any]
Versions = tuple[tuple[int, int], ...]
_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Broken:
    """A sealed period whose rows or seal are no longer what they were."""

    org_id: str
    period_key: str
    what: str


def statement(*, org_id: str, period_key: str, now: datetime) -> Json:
    """Return an organisation's statement of one period.

    A closed period is sealed now if it was not before, after all the closed ones
    that precede it. Raises NotFound where the organisation has no such period.
    """
    # Out of an address: PostgreSQL takes no NUL.
    books = body.books_at(org_id, period_key, now=now) if is_well_formed(period_key) else None
    if books is None:
        raise NotFound
    seal = Statement.objects.filter(org_id=org_id, period_key=period_key).first()
    closed = seal is not None or books.is_closed(now=now)
    if closed and seal is None:
        seal = seal_closed(org_id=org_id, now=now).get(period_key)
    with one_snapshot():
        # As of now: until a period is closed its numbers move, and closing it waits for whoever
        # still counts.
        books = body.books_at(org_id, period_key, now=now) or books
        return {
            "periodKey": period_key,
            "status": "closed" if closed else "open",
            # What was sealed is what it says, for as long as the seal holds.
            "metrics": (
                body.metrics_in(seal.rows) if seal and _is_whole(seal) else body.metrics_of(books)
            ),
            "planChanges": body.plan_changes(books),
            "invoiceIds": body.invoice_ids(books),
            "digest": seal.digest if seal else None,
            "previousDigest": (seal.previous_digest or None) if seal else None,
        }


def seal_closed(*, org_id: str, now: datetime) -> dict[str, Statement]:
    """Seal the closed periods that are not sealed yet, oldest first; returns all seals by key."""
    # A request that began before the end of the grace may still be counting.
    close_ended(org_id=org_id, now=now)
    ready = _to_seal(org_id, now=now)
    with transaction.atomic():
        # One sealer at a time per organisation: the digests form a chain.
        locked = Organization.objects.select_for_update().filter(org_id=org_id).first()
        if locked is None:
            raise NotFound
        seals = {one.period_key: one for one in Statement.objects.filter(org_id=org_id)}
        previous = _last_digest(org_id)
        for books in body.books_of(org_id):
            if books.period_key in seals:
                continue
            if not books.is_closed(now=now):
                break
            versions, rows = ready.get(books.period_key, ((), {}))
            if versions != books.versions:
                # A repair came between: what was read before it does not hold.
                rows = body.canonical(books)
            seals[books.period_key] = Statement.objects.create(
                org_id=org_id,
                period_key=books.period_key,
                period_start=books.start,
                rows=rows,
                previous_digest=previous,
                digest=_digest(previous, rows),
                sealed_at=clock.real_now(),
            )
            previous = seals[books.period_key].digest
    return seals


def _to_seal(org_id: str, *, now: datetime) -> dict[str, tuple[Versions, Json]]:
    """Return the rows of the closed periods that are not sealed, and the versions they are of.

    Read before the organisation is locked: where nothing is kept of a large period it takes
    seconds, and nothing of a closed one changes any more.
    """
    sealed = set(Statement.objects.filter(org_id=org_id).values_list("period_key", flat=True))
    ready = {}
    for books in body.books_of(org_id):
        if books.period_key in sealed:
            continue
        if not books.is_closed(now=now):
            break
        with one_snapshot():
            ready[books.period_key] = (books.versions, body.canonical(books))
    return ready


def verify(*, org_id: str) -> Iterator[Broken]:
    """Yield what differs between an organisation's seals and its rows of today.

    Every day is read from the ledger: what was kept of it may not show an edit.
    """
    books = {one.period_key: one for one in body.books_of(org_id)}
    previous = ""
    for seal in Statement.objects.filter(org_id=org_id).order_by("period_start", "pk"):
        if seal.previous_digest != previous:
            yield Broken(org_id, seal.period_key, "chain")
        if not _is_whole(seal):
            yield Broken(org_id, seal.period_key, "seal")
        else:
            of_today = books.get(seal.period_key)
            if of_today is None or not _says(seal, of_today):
                yield Broken(org_id, seal.period_key, "rows")
        previous = seal.digest


def _is_whole(seal: Statement) -> bool:
    return _digest(seal.previous_digest, seal.rows) == seal.digest


def _says(seal: Statement, books: body.Books) -> bool:
    with one_snapshot(seconds=None):
        rows = body.canonical(books, from_ledger=True)
    return _digest(seal.previous_digest, rows) == seal.digest


def rows_of(found: Json) -> Iterator[list[Any]]:
    """Yield a statement as rows of a table, the first being the names of its columns."""
    yield ["periodKey", "metric", "date", "used"]
    for metric, numbers in found["metrics"].items():
        for day in numbers["days"]:
            yield [found["periodKey"], metric, day["date"], day["used"]]
        for name, value in numbers.items():
            if name != "days":
                yield [found["periodKey"], metric, name, value]


def table_of(found: Json) -> str:
    """Return a statement as CSV that no spreadsheet runs."""
    out = io.StringIO()
    csv.writer(out).writerows([csvtext.text(cell) for cell in row] for row in rows_of(found))
    return out.getvalue()


def _last_digest(org_id: str) -> str:
    last = Statement.objects.filter(org_id=org_id).order_by("-period_start", "-pk").first()
    return last.digest if last else ""


def _digest(previous: str, rows: Json) -> str:
    key = settings.STATEMENT_KEY.encode()
    return hmac.new(key, previous.encode() + b"\x00" + _encode(rows), hashlib.sha256).hexdigest()
