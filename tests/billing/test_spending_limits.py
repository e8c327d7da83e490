"""What costs us a call at Stripe, or opens a page, has a limit per organisation and hour."""

from typing import Any

from pytest_django import Settings

from tests.billing.owners import Owner, new_owner
from tests.sandbox.server import Control
from tests.support.cast import Org, error


def made_by(who: Org, path: str) -> Any:
    return who.post(path, {"orgId": who.id})


def test_setup_intents_and_portals_share_a_limit_per_organisation(
    owner: Owner, sandbox: Control, settings: Settings
) -> None:
    settings.THROTTLE_STRIPE_PAGES = "3/hour"
    made = [made_by(owner, "/api/payments/setup"), made_by(owner, "/api/payments/portal")]
    made.append(made_by(owner, "/api/payments/setup"))
    before = len(sandbox.objects("setup_intent"))

    refused = [made_by(owner, "/api/payments/setup"), made_by(owner, "/api/payments/portal")]

    assert [one.status_code for one in made] == [200, 200, 200]
    for response in refused:
        assert (response.status_code, error(response)["code"]) == (429, "THROTTLED")
        assert 0 < int(response.headers["Retry-After"]) <= 3601
    assert len(sandbox.objects("setup_intent")) == before == 2


def test_links_to_the_usage_page_have_a_limit_of_their_own(
    owner: Owner, settings: Settings
) -> None:
    settings.THROTTLE_PORTAL_LINKS = "2/hour"

    answers = [made_by(owner, "/api/portal-links").status_code for _ in range(3)]

    assert answers == [200, 200, 429]
    assert made_by(owner, "/api/payments/setup").status_code == 200


def test_one_organisation_does_not_use_up_what_another_may(
    owner: Owner, settings: Settings
) -> None:
    settings.THROTTLE_STRIPE_PAGES = "1/hour"
    settings.THROTTLE_PORTAL_LINKS = "1/hour"
    other = new_owner("Other")
    for path in ("/api/payments/setup", "/api/portal-links"):
        assert made_by(owner, path).status_code == 200
        assert made_by(owner, path).status_code == 429

        assert made_by(other, path).status_code == 200
