"""POST /api/admin/token: a staff log-in for ten minutes of the staff routes."""

from typing import Any

import jwt
import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client

from tests.contract.credentials import staff_token
from tests.support.cast import Org, data, error
from tests.tokens.http import post

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "correct horse battery"
STAFF_ROUTE = "/api/admin/quotas/reset"


@pytest.fixture
def ada(transactional_db: None) -> Any:
    """A member of staff who may do everything."""
    people: Any = get_user_model().objects
    return people.create_superuser("ada", "ada@example.com", PASSWORD)


def log_in(username: str = "ada", password: str = PASSWORD, **more: Any) -> Any:
    return post("/api/admin/token", {"username": username, "password": password, **more})


def dry_run(token: str, **headers: str) -> Any:
    """Call a staff route that changes nothing."""
    return post(STAFF_ROUTE, {"dryRun": True}, Authorization=f"Bearer {token}", **headers)


def test_the_right_password_gets_a_token_that_opens_the_staff_routes(ada: Any) -> None:
    answer = data(log_in())

    assert answer["expiresIn"] == 600
    assert dry_run(answer["accessToken"]).status_code == 200


def test_the_token_is_of_the_staff_audience_and_carries_no_scope(ada: Any) -> None:
    claims = jwt.decode(data(log_in())["accessToken"], options={"verify_signature": False})

    assert claims["aud"] == settings.STAFF_AUDIENCE != settings.TOKEN_AUDIENCE
    assert claims["sub"] == f"staff:{ada.pk}"
    assert claims["scopes"] == []
    assert claims["exp"] - claims["iat"] == 600


def test_every_way_in_which_a_log_in_is_no_good_looks_the_same(ada: Any) -> None:
    people: Any = get_user_model().objects
    people.create_user("guest", password=PASSWORD)
    people.create_user("gone", password=PASSWORD, is_staff=True, is_active=False)
    ids = {"x-request-id": "same", "x-correlation-id": "same"}

    answers = [
        post("/api/admin/token", {"username": name, "password": password}, **ids)
        for name, password in (
            ("ada", "wrong"),
            ("nobody", PASSWORD),
            ("guest", PASSWORD),
            ("gone", PASSWORD),
            ("ada'--", PASSWORD),
        )
    ]

    assert {answer.status_code for answer in answers} == {401}
    assert error(answers[0])["code"] == "UNAUTHENTICATED"
    assert len({(answer.content, str(answer.headers)) for answer in answers}) == 1


def test_a_changed_password_ends_the_tokens_got_with_the_old_one(ada: Any) -> None:
    token = data(log_in())["accessToken"]
    ada.set_password("another horse entirely")
    ada.save()

    assert dry_run(token).status_code == 401


@pytest.mark.parametrize("lost", ["is_staff", "is_active"])
def test_who_is_no_longer_staff_is_out_at_the_next_request(ada: Any, lost: str) -> None:
    token = data(log_in())["accessToken"]
    setattr(ada, lost, False)
    ada.save()

    assert dry_run(token).status_code == 401


def test_a_staff_token_is_no_organisations_token_and_the_other_way_round(
    ada: Any, org: Org
) -> None:
    token = data(log_in())["accessToken"]

    as_org = Client().get("/api/me/entitlements", headers={"Authorization": f"Bearer {token}"})
    as_staff = dry_run(org.tokens.access_token)

    assert (as_org.status_code, as_staff.status_code) == (401, 401)


def test_staff_without_the_named_permission_are_refused(ada: Any) -> None:
    people: Any = get_user_model().objects
    clerk = people.create_user("clerk", is_staff=True)

    response = dry_run(staff_token(clerk))

    assert response.status_code == 403
    assert error(response)["code"] == "FORBIDDEN"


def test_a_session_opens_the_staff_routes_only_with_its_csrf_token(ada: Any) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(ada)
    browser.get("/admin/")
    csrf = browser.cookies["csrftoken"].value

    without = browser.post(STAFF_ROUTE, {"dryRun": True}, content_type="application/json")
    with_it = browser.post(
        STAFF_ROUTE,
        {"dryRun": True},
        content_type="application/json",
        headers={"x-csrftoken": csrf},
    )

    assert (without.status_code, with_it.status_code) == (403, 200)
    assert error(without)["code"] == "FORBIDDEN"


def test_a_session_of_somebody_who_is_not_staff_opens_nothing(transactional_db: None) -> None:
    people: Any = get_user_model().objects
    browser = Client()
    browser.force_login(people.create_user("guest"))

    response = browser.post(STAFF_ROUTE, {"dryRun": True}, content_type="application/json")

    assert response.status_code == 403
