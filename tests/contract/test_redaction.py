"""No secret and no personal data in any log line, wherever a client puts it."""

from typing import Any
from urllib.parse import urlencode

import pytest
from pytest_django import Settings

from tests.contract.canaries import CANARIES, leaked
from tests.contract.capture import logged
from tests.contract.refusals import refused
from tests.contract.routes import ROUTES, Route, client, new_client
from tests.sandbox.server import Control
from tests.support.cast import Org, data, make_org
from tokens import secrets

pytestmark = pytest.mark.django_db(transaction=True)

each_canary = pytest.mark.parametrize("secret", CANARIES.values(), ids=CANARIES.keys())
#: Every header that anything on our side reads, and one that nothing does.
HEADERS = (
    "x-tenant-id",
    "x-request-id",
    "x-correlation-id",
    "x-client-domain",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-csrftoken",
    "x-anything",
    "origin",
    "referer",
    "user-agent",
    "accept",
    "accept-language",
    "cookie",
    "idempotency-key",
    "traceparent",
    "tracestate",
    "stripe-signature",
)


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_no_line_holds_what_a_client_put_anywhere(route: Route, org: Org, sandbox: Control) -> None:
    with logged() as log:
        for secret in CANARIES.values():
            send_everywhere(route, org, secret)

    assert leaked(log.text) == []
    assert log.lines


def send_everywhere(route: Route, org: Org, secret: str) -> None:
    """Call a route with the secret in every header, the query and each field."""
    headers = dict.fromkeys(HEADERS, secret)
    environ: dict[str, Any] = {"QUERY_STRING": urlencode({secret: secret, "metric": secret})}
    # With the headers a call is refused early; without them it gets as far as it can.
    route.send(b"", org=org, headers=headers, **environ)
    route.send(b"", org=org, **environ)
    for body in bodies(route, org, secret) if route.call.body else ():
        route.send_json(body, org=org)
    for credential in (secret, f"Bearer {secret}", f"Basic {secret}"):
        route.send_json({secret: secret}, headers={**headers, "authorization": credential})


def bodies(route: Route, org: Org, secret: str) -> list[Any]:
    """Return bodies with the secret as key, as each field, and in every field's wrong type."""
    valid = route.valid_body(org)
    each = [{**valid, name: secret} for name in valid]
    return [secret, [secret], {secret: secret}, dict.fromkeys(valid, {secret: [secret]}), *each]


@each_canary
def test_no_line_holds_what_a_client_put_into_a_path(secret: str) -> None:
    with logged() as log:
        for prefix in ("/api/", "/api/tokens/", "/admin/", "/static/", "/portal/", "/"):
            for verb in ("GET", "POST", "DELETE"):
                client().generic(
                    verb, f"{prefix}{secret}/x", b"{}", content_type="application/json"
                )
        client().get("/api/plans", headers={"host": secret})

    assert leaked(log.text) == []


@pytest.mark.parametrize("path", ["api/failing", "api/plain", "plain"])
@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_a_fault_is_logged_without_the_secrets_in_its_text(
    path: str, verb: str, settings: Settings
) -> None:
    settings.ROOT_URLCONF = "tests.contract.faulty_urls"

    with logged() as log:
        response = new_client().generic(verb, f"/{path}", headers={"x-request-id": "r-1"})

    assert response.status_code in (500, 403)  # a plain view asks a POST for its CSRF token
    assert leaked(log.text) == []
    assert leaked(response.content.decode()) == []
    assert {line["request_id"] for line in log.lines} == {"r-1"}


@pytest.mark.parametrize("path", ["api/failing", "api/plain"])
def test_a_fault_is_answered_with_the_envelope_and_found_by_its_ids(
    path: str, settings: Settings
) -> None:
    settings.ROOT_URLCONF = "tests.contract.faulty_urls"

    with logged() as log:
        response = new_client().get(f"/{path}", headers={"x-request-id": "r-1"})

    assert refused(response, 500, "INTERNAL")["message"] == "Something went wrong on our side"
    [fault] = [line for line in log.lines if line["level"] == "error"]
    assert "Traceback" in fault["exception"]
    assert fault["request_id"] == "r-1"


@pytest.mark.parametrize("path", ["api/failing", "api/plain", "plain", "page", "admin/broken/"])
def test_every_fault_is_one_error_line_with_its_route_and_its_traceback(
    path: str, settings: Settings
) -> None:
    settings.ROOT_URLCONF = "tests.contract.faulty_urls"

    with logged() as log:
        response = new_client().get(f"/{path}", headers={"x-request-id": "r-1"})

    assert response.status_code == 500
    assert response.headers["x-request-id"] == "r-1"
    [fault] = [line for line in log.lines if line["level"] in ("error", "critical")]
    assert (fault["event"], fault["route"], fault["request_id"]) == ("request_failed", path, "r-1")
    assert "Traceback" in fault["exception"]
    assert "_with_a_local" in fault["exception"]


def test_a_fault_of_a_middleware_is_an_error_line_too(settings: Settings) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.contract.faulty_urls.failing_middleware"]

    with logged() as log:
        response = new_client().get("/portal/", headers={"x-request-id": "r-1"})

    assert response.status_code == 500
    [fault] = [line for line in log.lines if line["level"] == "error"]
    assert fault["request_id"] == "r-1"
    assert "_with_a_local" in fault["exception"]


def test_the_secrets_we_make_are_in_no_line(sandbox: Control, django_user_model: Any) -> None:
    django_user_model.objects.create_user(
        "canary", email="canary.owner@canary.example", password="a long password", is_staff=True
    )

    with logged() as log:
        answers = [
            client().post(path, body, content_type="application/json")
            for path, body in (
                ("/api/signup", {"orgName": "Acme", "email": "canary.owner@canary.example"}),
                ("/api/admin/token", {"username": "canary", "password": "a long password"}),
            )
        ]
        code = data(answers[0])["activationCode"]
        answers.append(
            client().post(
                "/api/tokens/activate", {"activationCode": code}, content_type="application/json"
            )
        )

    made = [code, data(answers[1])["accessToken"]]
    made += [data(answers[2])["accessToken"], data(answers[2])["refreshToken"]]
    assert not [secret for secret in made if secret in log.text]
    assert "a long password" not in log.text
    assert leaked(log.text) == []


def test_a_code_that_is_refused_is_in_no_line(transactional_db: None) -> None:
    code = secrets.new_code()

    with logged() as log:
        response = client().post(
            "/api/tokens/activate", {"activationCode": code}, content_type="application/json"
        )

    assert response.status_code == 401
    assert code not in log.text


def test_an_organisations_name_is_in_no_line(sandbox: Control) -> None:
    body = {"orgName": "Canary Holdings", "email": "owner@acme.example"}

    with logged() as log:
        response = client().post("/api/signup", body, content_type="application/json")

    assert response.status_code == 200
    assert "Canary" not in log.text


def test_a_denial_is_logged_without_what_was_denied(transactional_db: None) -> None:
    org = make_org(included=0)

    with logged() as log:
        response = org.use(request_id="canary-request")

    assert response.status_code == 429
    assert "canary-request" not in log.text
    assert log.lines[-1]["status"] == 429
