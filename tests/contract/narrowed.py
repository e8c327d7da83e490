"""The OpenAPI document as one organisation on one day may use it.

The document allows every organisation's id, every code of a metric and every instant.
Nearly all of them are refused, and what lies behind would never be called: here they are
few, so that what is made from the document gets that far.
"""

import io
import json
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
#: Stands for an organisation that is made later.
ORG = "org_00000000000000000000000000"
#: And this for an instant of the current period.
NOW = "2000-01-01T00:00:00Z"
_IDS = ("#/components/parameters/RequestId", "#/components/parameters/CorrelationId")
_VALUES: dict[str, list[Any]] = {
    "orgId": [ORG],
    "metric": ["api_call", "compute_ms"],
    "planCode": ["starter", "pro", "business"],
    "newPlanCode": ["starter", "pro", "business"],
    "occurredAt": [NOW],
    "at": ["period_end", "now"],
}


def narrowed() -> dict[str, Any]:
    """Return the document, its fields of those names with those values only."""
    document: dict[str, Any] = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    components = document["components"]
    for name, schema in components["schemas"].items():
        if name.endswith("Body"):
            for field, described in schema.get("properties", {}).items():
                _narrow(field, described)
    for verbs in document["paths"].values():
        for operation in verbs.values():
            # Taken whatever they hold (test_headers.py): nothing would be wrong in them.
            operation["parameters"] = [
                one for one in operation["parameters"] if one.get("$ref") not in _IDS
            ]
            for parameter in operation["parameters"]:
                if parameter.get("in") == "query" and parameter["name"] != "at":
                    _narrow(parameter["name"], parameter["schema"])
    components["parameters"]["Tenant"]["schema"]["enum"] = [ORG]
    events = components["schemas"]["BatchBody"]["properties"]["events"]
    events["items"] = {"$ref": "#/components/schemas/EventBody"}
    return document


def aim(environ: dict[str, Any], *, org_id: str, now: str) -> None:
    """Put the real organisation and instant into a request, given as its WSGI environment."""

    def real(text: str) -> str:
        return text.replace(ORG, org_id).replace(NOW, now)

    for name, value in environ.items():
        if name in ("QUERY_STRING", "PATH_INFO") or name.startswith("HTTP_"):
            environ[name] = real(value)
    # As latin-1 any bytes come back as they were.
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = real(environ["wsgi.input"].read(length).decode("latin-1")).encode("latin-1")
    environ["wsgi.input"] = io.BytesIO(body)
    if length:
        environ["CONTENT_LENGTH"] = str(len(body))


def _narrow(field: str, described: dict[str, Any]) -> None:
    values = _VALUES.get(field)
    if values is None:
        return
    for choice in described.get("anyOf", [described]):
        if choice.get("type") == "string" or "enum" in choice:
            choice["enum"] = values
