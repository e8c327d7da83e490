"""Who changed a row, why, and under which request: the context of the history tables.

Triggers (pghistory) copy every change of a tracked row into an append-only table
beside it, bulk updates included; what stands here is attached to each copy.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pghistory
import structlog


@contextmanager
def because(why: str, *, who: str | None = None) -> Iterator[None]:
    """Attach `why` (and `who`) and the ids of the current request to all changes inside."""
    ids = structlog.contextvars.get_contextvars()
    known = {
        "why": why,
        "who": who,
        "request_id": ids.get("request_id"),
        "correlation_id": ids.get("correlation_id"),
    }
    with pghistory.context(**{name: value for name, value in known.items() if value}):
        yield
