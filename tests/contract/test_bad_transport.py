"""Content type, size, verb and path: 415, 413, 405 and 404, all in the envelope."""

import pytest

from tests.contract.refusals import ECHO, refused, refused_fields
from tests.contract.routes import ROUTES, WITH_BODY, Route, client
from tests.contract.state import nothing_written
from tests.support.cast import Org

pytestmark = pytest.mark.django_db(transaction=True)

each_route = pytest.mark.parametrize("route", WITH_BODY, ids=str)


@each_route
@pytest.mark.parametrize(
    "content_type",
    [
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
    ],
)
def test_a_body_not_declared_as_json_is_415(route: Route, content_type: str, org: Org) -> None:
    with nothing_written():
        response = route.send_json(route.valid_body(org), org=org, content_type=content_type)

    refused(response, 415, "UNSUPPORTED_MEDIA_TYPE")


@each_route
@pytest.mark.parametrize(
    "content_type",
    ["application/json;charset=utf-8", "Application/JSON", 'application/json; charset="UTF-8"'],
)
def test_json_may_be_declared_with_parameters_and_in_any_case(
    route: Route, content_type: str, org: Org
) -> None:
    response = route.send("{}", org=org, content_type=content_type)

    assert refused_fields(response)


@each_route
def test_a_body_as_large_as_the_cap_is_read_and_one_byte_more_is_413(
    route: Route, org: Org
) -> None:
    largest = b"{}".ljust(route.call.cap)

    with nothing_written():
        read = route.send(largest, org=org)
        too_large = route.send(largest + b" ", org=org)

    assert refused_fields(read)
    refused(too_large, 413, "PAYLOAD_TOO_LARGE")


@each_route
@pytest.mark.parametrize("length", ["1048577", "99999999999", str(2**70)])
def test_a_body_declared_too_large_is_413_before_it_is_read(
    route: Route, length: str, org: Org
) -> None:
    # Fewer bytes than declared are there: who tried to read them would find that out.
    response = route.send("{}", org=org, CONTENT_LENGTH=length)

    refused(response, 413, "PAYLOAD_TOO_LARGE")


@each_route
@pytest.mark.parametrize("length", ["", "x", "-1", "0"])
def test_a_body_without_a_sound_length_is_no_body(route: Route, length: str, org: Org) -> None:
    with nothing_written():
        response = route.send_json(route.valid_body(org), org=org, CONTENT_LENGTH=length)

    refused(response, 400, "MALFORMED_JSON")


def verbs_of(path: str) -> set[str]:
    """Return the verbs that a path knows."""
    known = {route.method for route in ROUTES if route.path == path}
    if "GET" in known:
        known.add("HEAD")
    if any(not route.call.enveloped for route in ROUTES if route.path == path):
        known.add("OPTIONS")  # a page, whose class is not ours
    return known


@pytest.mark.parametrize(
    ("route", "verb"),
    [
        pytest.param(route, verb, id=f"{verb} {route.path}")
        for route in {route.path: route for route in ROUTES}.values()
        for verb in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
        if verb not in verbs_of(route.path)
    ],
)
def test_a_verb_the_path_does_not_know_is_405_and_says_which_it_knows(
    route: Route, verb: str, org: Org
) -> None:
    with nothing_written():
        response = route.send("{}", org=org, method=verb)

    refused(response, 405, "METHOD_NOT_ALLOWED")
    assert set(response.headers["Allow"].split(", ")) == verbs_of(route.path)


@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "BREW"])
@pytest.mark.parametrize(
    "path",
    [
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
    ],
    ids=lambda path: path[:24],
)
def test_an_unknown_path_is_404_in_the_envelope(path: str, verb: str) -> None:
    response = client().generic(verb, path, "{}", content_type="application/json")

    refused(response, 404, "NOT_FOUND")


def test_a_host_that_is_none_is_400_in_the_envelope() -> None:
    response = client().get("/api/plans", headers={"Host": f"a b {ECHO}"})

    refused(response, 400, "VALIDATION_ERROR")
