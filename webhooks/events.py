"""What an event says of itself. Pure: touches no table and asks nobody."""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from webhooks.models import WebhookEvent

Json = dict[str, Any]
Refused = WebhookEvent.Refused

#: What a text column cannot hold: NUL, and halves of surrogate pairs.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An event as it came: what it is about, and why it is refused, if it is."""

    event_id: str
    type: str
    object_id: str
    api_version: str
    created_at: datetime
    payload: Any
    refused: str = ""


def from_bytes(body: bytes, *, now: datetime) -> Arrival:
    """Read a signed body. What is no event of ours is an arrival too, and says why."""
    try:
        document = json.loads(body, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError):
        return _not_an_event(body, None, now)
    document = _storable(document)
    return from_document(document, now=now) or _not_an_event(body, document, now)


def from_document(document: Any, *, now: datetime) -> Arrival | None:
    """Read an event; None where it is none.

    One of the other mode or of another account is refused: its ids mean nothing here.
    """
    if not isinstance(document, dict) or document.get("object") != "event":
        return None
    data = document.get("data")
    about = data.get("object") if isinstance(data, dict) else None
    event_id, type_ = _text(document.get("id"), 255), _text(document.get("type"), 100)
    created_at = _instant(document.get("created"))
    if not event_id or not type_ or created_at is None or not isinstance(about, dict):
        return None
    return Arrival(
        event_id=event_id,
        type=type_,
        object_id=_text(about.get("id"), 255),
        api_version=_text(document.get("api_version"), 40),
        created_at=created_at,
        payload=document,
        refused=_refusal(document),
    )


def _refusal(document: Json) -> str:
    if document.get("livemode") is not (settings.STRIPE_MODE == "live"):
        return Refused.LIVEMODE
    # Events of one's own account name none; a Connect endpoint's name the connected one.
    if document.get("account") not in (None, settings.STRIPE_ACCOUNT or None):
        return Refused.ACCOUNT
    return ""


def _not_an_event(body: bytes, document: Any, now: datetime) -> Arrival:
    return Arrival(
        # It has no id to be known by; sent again, it is still the same one.
        event_id=f"sha256:{hashlib.sha256(body).hexdigest()}",
        type="",
        object_id="",
        api_version="",
        created_at=now,
        payload=document,
        refused=Refused.NOT_AN_EVENT,
    )


def _text(value: Any, most: int) -> str:
    return value if isinstance(value, str) and len(value) <= most else ""


def _instant(unix: Any) -> datetime | None:
    if not isinstance(unix, int) or isinstance(unix, bool):
        return None
    try:
        return datetime.fromtimestamp(unix, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if number not in (float("inf"), float("-inf")) else None


def _storable(node: Any) -> Any:
    """Blank characters that no text column holds: an odd name must not lose an event."""
    if isinstance(node, str):
        return _UNSTORABLE.sub("\ufffd", node)
    if isinstance(node, dict):
        return {_storable(key): _storable(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_storable(item) for item in node]
    return node
