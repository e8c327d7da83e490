"""Which lines count, and how much."""

from datetime import UTC, datetime
from typing import Any

import pytest

from usage.importing.errors import CannotImport, Unreadable
from usage.importing.filters import line_filter
from usage.importing.formats import Request
from usage.importing.units import UnitsRule


def request(
    method: str = "GET", path: str = "/api/items", status: int = 200, **fields: Any
) -> Request:
    return Request(datetime(2015, 5, 20, tzinfo=UTC), method, path, status, fields)


@pytest.mark.parametrize(
    ("asked", "passes"),
    [
        ({}, True),
        ({"prefixes": ["/api/"]}, True),
        ({"prefixes": ["/static/", "/api/"]}, True),
        ({"prefixes": ["/items"]}, False),
        ({"patterns": ["items$"]}, True),
        ({"patterns": ["^/items"]}, False),
        ({"prefixes": ["/static/"], "patterns": [r"^/api/\w+$"]}, True),
        ({"methods": ["get"]}, True),
        ({"methods": ["POST", "PUT"]}, False),
        ({"statuses": ["200"]}, True),
        ({"statuses": ["2xx"]}, True),
        ({"statuses": ["2XX"]}, True),
        ({"statuses": ["201-299"]}, False),
        ({"statuses": ["100-200"]}, True),
        ({"statuses": ["4xx", "200-200"]}, True),
        ({"prefixes": ["/api/"], "methods": ["GET"], "statuses": ["304"]}, False),
    ],
)
def test_request_counts_when_it_fits_one_entry_of_each_kind(
    asked: dict[str, list[str]], passes: bool
) -> None:
    assert line_filter(**asked).passes(request()) is passes


@pytest.mark.parametrize("status", ["", "20", "2x", "0xx", "1000", "200-", "399-200", "-200"])
def test_status_that_is_none_is_refused(status: str) -> None:
    with pytest.raises(CannotImport, match="is not a status"):
        line_filter(statuses=[status])


def test_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(CannotImport, match="is not a regular expression"):
        line_filter(patterns=["("])


@pytest.mark.parametrize(
    ("rule", "fields", "units"),
    [
        (UnitsRule(), {}, 1),
        (UnitsRule(each=7), {}, 7),
        (UnitsRule(each=7), {"bytes": 512}, 7),
        (UnitsRule(each=7), {"value": 3}, 3),
        (UnitsRule(), {"units": 3}, 3),
        (UnitsRule(field="bytes"), {"bytes": 512}, 512),
        (UnitsRule(field="bytes"), {"bytes": 0}, 0),
        (UnitsRule(field="duration_ms"), {"duration_ms": 12, "value": 3}, 12),
        (UnitsRule(field="bytes"), {"bytes": 1_000_000_000}, 1_000_000_000),
    ],
)
def test_units_come_from_the_rule_or_from_the_line(
    rule: UnitsRule, fields: dict[str, Any], units: int
) -> None:
    assert rule.of(request(**fields)) == units


@pytest.mark.parametrize(
    ("rule", "fields", "reason"),
    [
        (UnitsRule(field="took"), {}, "has no field took"),
        (UnitsRule(field="took"), {"took": None}, "took is not a whole number"),
        (UnitsRule(field="took"), {"took": 1.5}, "took is not a whole number"),
        (UnitsRule(field="took"), {"took": "15"}, "took is not a whole number"),
        (UnitsRule(field="took"), {"took": True}, "took is not a whole number"),
        (UnitsRule(field="took"), {"took": -1}, "took is not a whole number"),
        (UnitsRule(field="bytes"), {"bytes": 1_000_000_001}, "bytes is not a whole number"),
        (UnitsRule(), {"value": 1.0}, "value is not a whole number"),
        (UnitsRule(), {"value": 1, "units": 1}, "both value and units"),
    ],
)
def test_line_with_units_that_are_none_is_told_why(
    rule: UnitsRule, fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Unreadable, match=reason):
        rule.of(request(**fields))


@pytest.mark.parametrize("each", [0, -1, 1_000_000_001])
def test_units_per_line_are_within_what_an_event_may_hold(each: int) -> None:
    with pytest.raises(CannotImport, match="A line is worth"):
        UnitsRule(each=each)


@pytest.mark.parametrize("name", ["", "a b", "1a", "x" * 41])
def test_field_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(CannotImport, match="not the name of a field"):
        UnitsRule(field=name)
