"""Bodies that are JSON and not what the route takes: 400 naming the field, nothing written."""

import json
from typing import Any

import pytest

from tests.contract.refusals import ECHO, refused, refused_fields
from tests.contract.routes import WITH_BODY, WRONG, Route
from tests.contract.state import nothing_written
from tests.support.cast import Org

pytestmark = pytest.mark.django_db(transaction=True)

each_route = pytest.mark.parametrize("route", WITH_BODY, ids=str)
each_field = pytest.mark.parametrize(
    ("route", "name"),
    [
        pytest.param(route, name, id=f"{route} {name}")
        for route in WITH_BODY
        for name in route.call.fields
    ],
)
each_required_field = pytest.mark.parametrize(
    ("route", "name"),
    [
        pytest.param(route, name, id=f"{route} {name}")
        for route in WITH_BODY
        for name in route.call.fields
        if name not in route.call.optional
    ],
)


@each_route
def test_an_unknown_field_is_refused_by_its_name(route: Route, org: Org) -> None:
    body = {**route.valid_body(org), "extra": ECHO}

    with nothing_written():
        response = route.send_json(body, org=org)

    assert refused_fields(response) == {"extra"}


@each_route
def test_the_name_of_an_unknown_field_is_not_echoed_when_it_is_no_plain_name(
    route: Route, org: Org
) -> None:
    body = {**route.valid_body(org), f"<b>{ECHO}</b>": 1}

    with nothing_written():
        response = route.send_json(body, org=org)

    assert refused_fields(response) == {"?"}


@each_required_field
def test_a_missing_field_is_refused_by_its_name(route: Route, name: str, org: Org) -> None:
    body = route.valid_body(org)
    del body[name]

    with nothing_written():
        response = route.send_json(body, org=org)

    assert refused_fields(response) == {name}


@each_field
def test_a_field_of_another_type_is_refused_by_its_name(route: Route, name: str, org: Org) -> None:
    valid = route.valid_body(org)
    wrong = [value for value in WRONG[route.call.fields[name]] if not _may_be(route, name, value)]

    with nothing_written():
        answers = [route.send_json({**valid, name: value}, org=org) for value in wrong]

    assert [refused_fields(answer) for answer in answers] == [{name}] * len(wrong)


@each_field
def test_bad_text_in_a_field_is_never_echoed(route: Route, name: str, org: Org) -> None:
    body = {**route.valid_body(org), name: [ECHO, {ECHO: ECHO}]}
    if route.call.fields[name] == "list":
        body[name] = {ECHO: ECHO}

    with nothing_written():
        response = route.send_json(body, org=org)

    assert refused_fields(response) == {name}


@each_route
def test_every_fault_of_a_body_is_named_at_once(route: Route, org: Org) -> None:
    missing, *rest = [name for name in route.call.fields if name not in route.call.optional]
    body = {"extra": ECHO, **{name: [[ECHO]] if _is_text(route, name) else ECHO for name in rest}}

    with nothing_written():
        response = route.send_json(body, org=org)

    assert refused_fields(response) == {"extra", missing, *rest}


@each_route
@pytest.mark.parametrize("document", [[], [{}], "text", 1, 1.5, True, None], ids=json.dumps)
def test_a_document_that_is_no_object_is_refused(route: Route, document: Any, org: Org) -> None:
    with nothing_written():
        response = route.send_json(document, org=org)

    assert refused(response, 400, "VALIDATION_ERROR")["details"]["fields"]


INTEGERS = [
    pytest.param(route, name, id=f"{route} {name}")
    for route in WITH_BODY
    for name, kind in route.call.fields.items()
    if kind == "integer"
]

OUT_OF_RANGE = {
    "zero": 0,
    "negative": -1,
    "beyond what doubles hold": 10**16,
    "beyond 63 bits": 2**63,
    "beyond 64 bits": 2**64,
    "far below": -(2**64),
    "4,001 digits": 10**4000,
}


@pytest.mark.parametrize(("route", "name"), INTEGERS)
@pytest.mark.parametrize("value", OUT_OF_RANGE.values(), ids=OUT_OF_RANGE.keys())
def test_an_integer_out_of_range_is_refused_by_its_name(
    route: Route, name: str, value: int, org: Org
) -> None:
    with nothing_written():
        response = route.send_json({**route.valid_body(org), name: value}, org=org)

    assert refused_fields(response) == {name}


@pytest.mark.parametrize(("route", "name"), INTEGERS)
@pytest.mark.parametrize("spelling", ["1.0", "1e0", "1E2", "10e-1", "-0.0"])
def test_a_number_with_a_fraction_or_exponent_is_no_integer(
    route: Route, name: str, spelling: str, org: Org
) -> None:
    raw = json.dumps({**route.valid_body(org), name: "HERE"}).replace('"HERE"', spelling)

    with nothing_written():
        response = route.send(raw, org=org)

    assert refused_fields(response) == {name}


@each_required_field
def test_text_longer_than_the_field_takes_is_refused_by_its_name(
    route: Route, name: str, org: Org
) -> None:
    body = {**route.valid_body(org), name: ECHO * 200}
    if not _is_text(route, name):
        body[name] = [{}] * 1001

    with nothing_written():
        response = route.send_json(body, org=org)

    assert refused_fields(response) == {name}


@each_required_field
def test_an_empty_field_is_refused_by_its_name(route: Route, name: str, org: Org) -> None:
    body = {**route.valid_body(org), name: "" if _is_text(route, name) else []}

    with nothing_written():
        response = route.send_json(body, org=org)

    assert refused_fields(response) == {name}


def _may_be(route: Route, name: str, value: Any) -> bool:
    return value is None and name in route.call.nullable


def _is_text(route: Route, name: str) -> bool:
    return route.call.fields[name] == "text"
