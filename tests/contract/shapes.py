"""The shape of an answer: its keys and types, not its values."""

import json
import os
import re
from pathlib import Path
from typing import Any

SNAPSHOTS = Path(__file__).resolve().parents[1] / "snapshots"
#: `UPDATE_SNAPSHOTS=1 ./dev test tests/contract/test_shapes.py` writes them anew.
UPDATING = os.environ.get("UPDATE_SNAPSHOTS") == "1"
_HOW = "If that is meant: UPDATE_SNAPSHOTS=1 ./dev test tests/contract/test_shapes.py"
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")
_TOLD_HEADERS = (
    "Cache-Control",
    "Idempotent-Replayed",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "x-tenant-id",
)


def shape_of(value: Any) -> Any:
    """Return a value with its leaves replaced by the names of their types."""
    match value:
        case dict():
            # A code is part of the shape: clients branch on it.
            return {
                key: value[key] if key == "code" else shape_of(value[key]) for key in sorted(value)
            }
        case list():
            different: list[Any] = []
            for one in map(shape_of, value):
                if one not in different:
                    different.append(one)
            return different
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case _:
            return "instant" if _INSTANT.fullmatch(value) else "text"


def answer_shape(response: Any) -> dict[str, Any]:
    """Return the shape of a response: status, what its headers tell, and its body."""
    kind = response.headers["Content-Type"]
    return {
        "status": response.status_code,
        "headers": [name for name in _TOLD_HEADERS if name in response.headers],
        "body": shape_of(response.json()) if kind.startswith("application/json") else kind,
    }


def snapshot_path(name: str) -> Path:
    """Return where the snapshot of a route lies."""
    return SNAPSHOTS / (re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") + ".json")


def compare(name: str, found: dict[str, Any]) -> None:
    """Fail where a route's answers have another shape than their snapshot, or none."""
    path = snapshot_path(name)
    if UPDATING:
        path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    assert path.exists(), f"{name} has no snapshot {path.name}. {_HOW}"
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert json.loads(json.dumps(found)) == kept, f"clients were shown another shape. {_HOW}"
