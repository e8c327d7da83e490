"""Bodies that are JSON and not what the route takes: 400 naming the field, nothing written."""

import json
from typing import Any

import pytest

from tests.contract.calls import WRONG
from tests.contract.refusals import ECHO, refused_fields
from tests.contract.routes import WITH_BODY, Route
from tests.contract.state import nothing_written
from tests.support.cast import Org

pytestmark = pytest.mark.django_db(transaction=True)

each_route = pytest.mark.parametrize("route", WITH_BODY, ids=str)
with_a_number = pytest.mark.parametrize(
    "route",
    [
        route
        for route in WITH_BODY
        if not {"integer", "count", "amount"}.isdisjoint(route.call.fields.values())
    ],
    ids=str,
)


def refusals(route: Route, org: Org, bad: list[tuple[str, Any]]) -> list[tuple[str, set[str]]]:
    """Put each bad value alone into a valid body; return which fields each answer names."""
    valid = route.valid_body(org)
    with nothing_written():
        answers = [(name, route.send_json({**valid, name: value}, org=org)) for name, value in bad]
    return [(name, refused_fields(answer)) for name, answer in answers]


def each_by_its_name(bad: list[tuple[str, Any]]) -> list[tuple[str, set[str]]]:
    """Return what `refusals` answers where each value is refused by the name of its field."""
    return [(name, {name}) for name, _ in bad]


@each_route
def test_an_unknown_field_is_refused_by_its_name(route: Route, org: Org) -> None:
    bad = [("extra", ECHO), ("orgid", 1), ("__proto__", {}), ("org_Id", None)]

    assert refusals(route, org, bad) == each_by_its_name(bad)


@each_route
def test_the_name_of_an_unknown_field_is_not_echoed_when_it_is_no_plain_name(
    route: Route, org: Org
) -> None:
    bad = [(f"<b>{ECHO}</b>", 1), (f"{ECHO} {ECHO}", 1), (ECHO * 4, 1), ("", 1), ("é", 1)]

    assert [fields for _, fields in refusals(route, org, bad)] == [{"?"}] * len(bad)


@each_route
def test_a_missing_field_is_refused_by_its_name(route: Route, org: Org) -> None:
    valid = route.valid_body(org)
    required = [name for name in valid if name not in route.call.optional]

    with nothing_written():
        answers = [
            route.send_json({key: valid[key] for key in valid if key != name}, org=org)
            for name in required
        ]

    assert [refused_fields(answer) for answer in answers] == [{name} for name in required]


@each_route
def test_a_field_of_another_type_is_refused_by_its_name(route: Route, org: Org) -> None:
    bad = [
        (name, value)
        for name, kind in route.call.fields.items()
        for value in WRONG[kind]
        if not (value is None and name in route.call.nullable)
    ]

    assert refusals(route, org, bad) == each_by_its_name(bad)


@each_route
def test_what_stands_in_a_bad_field_is_never_echoed(route: Route, org: Org) -> None:
    bad = [
        (name, {ECHO: ECHO} if kind == "list" else [ECHO, {ECHO: ECHO}])
        for name, kind in route.call.fields.items()
    ]

    assert refusals(route, org, bad) == each_by_its_name(bad)


@each_route
def test_text_that_is_too_long_is_refused_by_the_name_of_its_field(route: Route, org: Org) -> None:
    bad = [
        (name, [{}] * 1001 if kind == "list" else ECHO * 200)
        for name, kind in route.call.fields.items()
        if kind in ("text", "word", "list")
    ]

    named = [
        (name, {field.partition(".")[0] for field in fields})
        for name, fields in refusals(route, org, bad)
    ]

    assert named == each_by_its_name(bad)


@each_route
def test_a_required_field_that_is_empty_is_refused_by_its_name(route: Route, org: Org) -> None:
    bad: list[tuple[str, Any]] = [
        (name, [] if kind == "list" else "")
        for name, kind in route.call.fields.items()
        if name not in route.call.optional and kind in ("text", "word", "list")
    ]

    assert refusals(route, org, bad) == each_by_its_name(bad)


@each_route
def test_every_fault_of_a_body_is_named_at_once(route: Route, org: Org) -> None:
    first, *rest = route.call.fields
    body = {"extra": ECHO, **{name: {ECHO: ECHO} for name in rest}}

    with nothing_written():
        response = route.send_json(body, org=org)

    assert refused_fields(response) == {"extra", *rest} | ({first} - route.call.optional)


@each_route
def test_a_document_that_is_no_object_is_refused(route: Route, org: Org) -> None:
    documents: list[Any] = [[], [{}], [ECHO], ECHO, 1, 1.5, True, None]

    with nothing_written():
        answers = [route.send_json(document, org=org) for document in documents]

    assert all(refused_fields(answer) for answer in answers)


@with_a_number
def test_an_integer_out_of_range_is_refused_by_its_name(route: Route, org: Org) -> None:
    # The last is as long as a number may be that is still read as one.
    far = [-(2**64), -(10**16), 10**16, 2**63, 2**64, 10**4000]
    near = {"integer": [0, -1], "count": [-1], "amount": []}
    bad = [
        (name, value)
        for name, kind in route.call.fields.items()
        if kind in near
        for value in near[kind] + far
    ]

    assert refusals(route, org, bad) == each_by_its_name(bad)


@with_a_number
def test_a_number_with_a_fraction_or_an_exponent_is_no_integer(route: Route, org: Org) -> None:
    numbers = [name for name, kind in route.call.fields.items() if WRONG[kind][0] == 1.0]
    spelt = [(name, text) for name in numbers for text in ("1.0", "1e0", "1E2", "10e-1", "-0.0")]
    valid = route.valid_body(org)

    with nothing_written():
        answers = [
            route.send(json.dumps({**valid, name: "HERE"}).replace('"HERE"', text), org=org)
            for name, text in spelt
        ]

    assert [refused_fields(answer) for answer in answers] == [{name} for name, _ in spelt]
