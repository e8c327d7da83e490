"""Content type, size, verb and path: 415, 413, 405 and 404, all in the envelope."""

import pytest

from tests.contract.refusals import ECHO, refused, refused_fields
from tests.contract.routes import ROUTES, WITH_BODY, Route, client
from tests.contract.state import nothing_written
from tests.support.cast import Org

pytestmark = pytest.mark.django_db(transaction=True)

each_route = pytest.mark.parametrize("route", WITH_BODY, ids=str)


NOT_JSON = [
    "",
    "text/plain",
    "text/json",
    "application/jsonp",
    "application/json-patch+json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/xml",
    "*/*",
    f"text/{ECHO}",
]
UNKNOWN_FIELD = b'{"extra": 1}'
AS_JSON = [
    "application/json;charset=utf-8",
    "Application/JSON",
    'application/json; charset="UTF-8"',
]


@each_route
def test_a_body_not_declared_as_json_is_415(route: Route, org: Org) -> None:
    with nothing_written():
        answers = [
            route.send_json(route.valid_body(org), org=org, content_type=content_type)
            for content_type in NOT_JSON
        ]

    for answer in answers:
        refused(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


@each_route
def test_json_may_be_declared_with_parameters_and_in_any_case(route: Route, org: Org) -> None:
    answers = [
        route.send(UNKNOWN_FIELD, org=org, content_type=content_type) for content_type in AS_JSON
    ]

    assert all(refused_fields(answer) for answer in answers)


@each_route
def test_a_body_as_large_as_the_cap_is_read_and_one_byte_more_is_413(
    route: Route, org: Org
) -> None:
    largest = UNKNOWN_FIELD.ljust(route.call.cap)

    with nothing_written():
        read = route.send(largest, org=org)
        too_large = route.send(largest + b" ", org=org)

    assert refused_fields(read)
    refused(too_large, 413, "PAYLOAD_TOO_LARGE")


@each_route
def test_a_body_declared_too_large_is_413_before_it_is_read(route: Route, org: Org) -> None:
    # Fewer bytes than declared are there: who tried to read them would find that out.
    answers = [
        route.send("{}", org=org, CONTENT_LENGTH=length)
        for length in ("1048577", "99999999999", str(2**70))
    ]

    for answer in answers:
        refused(answer, 413, "PAYLOAD_TOO_LARGE")


@each_route
def test_a_body_without_a_sound_length_is_no_body(route: Route, org: Org) -> None:
    with nothing_written():
        answers = [
            route.send_json(route.valid_body(org), org=org, CONTENT_LENGTH=length)
            for length in ("", "x", "-1", "0")
        ]

    for answer in answers:
        refused(answer, 400, "MALFORMED_JSON")


VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")


def verbs_of(path: str) -> set[str]:
    """Return the verbs that a path knows."""
    known = {route.method for route in ROUTES if route.path == path}
    if "GET" in known:
        known.add("HEAD")
    return known


@pytest.mark.parametrize("route", {route.path: route for route in ROUTES}.values(), ids=str)
def test_a_verb_the_path_does_not_know_is_405_and_says_which_it_knows(
    route: Route, org: Org
) -> None:
    known = verbs_of(route.path)

    with nothing_written():
        answers = [route.send("{}", org=org, method=verb) for verb in VERBS if verb not in known]

    for answer in answers:
        refused(answer, 405, "METHOD_NOT_ALLOWED")
        assert set(answer.headers["Allow"].split(", ")) == known


UNKNOWN = [
    "/api",
    "/api/",
    "/api/nope",
    f"/api/{ECHO}?{ECHO}={ECHO}",
    "/api/v1/usage/",
    "/api/v1",
    "/api/plans/nope",
    "/api/quota/check/../check",
    "/api/line%0Afeed",
    "/api/n%00l",
    "/api/%ff%fe",
    "/api/" + "x" * 5000,
]


@pytest.mark.parametrize("path", UNKNOWN, ids=lambda path: path[:24])
def test_an_unknown_path_is_404_in_the_envelope(path: str) -> None:
    answers = [
        client().generic(verb, path, "{}", content_type="application/json") for verb in VERBS
    ]

    for answer in answers:
        refused(answer, 404, "NOT_FOUND")


def test_a_host_that_is_none_is_400_in_the_envelope() -> None:
    response = client().get("/api/plans", headers={"Host": f"a b {ECHO}"})

    refused(response, 400, "VALIDATION_ERROR")
