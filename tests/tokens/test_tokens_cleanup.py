"""What is over for a month is forgotten; what lives, and the audit trail, is kept."""

from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command

from config.contract import clock
from tests.support.cast import Org
from tests.tokens.http import activate, new_code, refresh
from tokens import families
from tokens.cleanup import Forgotten, forget, forgettable
from tokens.models import ActivationCode, AuditEntry, RefreshToken, TokenFamily
from tokens.tasks import forget_expired

pytestmark = pytest.mark.django_db(transaction=True)

NOTHING = Forgotten(codes=0, refresh_tokens=0, families=0, portal_links=0)


def days(number: float) -> datetime:
    return clock.real_now() + timedelta(days=number)


def chain(org: Org, *, links: int, every: float) -> list[str]:
    """Refresh the organisation's installation every so many days; return its tokens."""
    tokens = [org.tokens.refresh_token]
    for number in range(1, links):
        issued = families.refresh(token=tokens[-1], domain=None, now=days(number * every))
        tokens.append(issued.refresh_token)
    return tokens


@pytest.mark.parametrize("batch", [1, 2, 5000])
def test_a_family_that_ended_a_month_ago_goes_with_its_chain_and_its_code(
    org: Org, batch: int
) -> None:
    chain(org, links=5, every=1)
    families.revoke_all(org_id=org.id, who="test", now=days(5))

    early = forget(now=days(34), batch=batch)
    due = forget(now=days(36), batch=batch)

    assert early == NOTHING
    assert due == Forgotten(codes=1, refresh_tokens=5, families=1, portal_links=0)
    assert not TokenFamily.objects.exists()
    assert not RefreshToken.objects.exists()
    assert not ActivationCode.objects.exists()


def test_a_family_nobody_refreshed_goes_a_month_after_its_end(org: Org) -> None:
    life = settings.REFRESH_TOKEN_LIFE.days

    assert forget(now=days(life + 29)) == NOTHING
    assert forget(now=days(life + 31)) == Forgotten(
        codes=1, refresh_tokens=1, families=1, portal_links=0
    )


@pytest.mark.parametrize("batch", [1, 3, 5000])
def test_the_old_end_of_a_living_chain_is_forgotten_and_the_rest_goes_on(
    org: Org, batch: int
) -> None:
    chain(org, links=12, every=10)  # the last link is from day 110

    gone = forget(now=days(111), batch=batch)

    # Links of the days 0 to 50 ended on the days 30 to 80.
    assert gone == Forgotten(codes=0, refresh_tokens=6, families=0, portal_links=0)
    assert RefreshToken.objects.filter(predecessor=None).count() == 1
    assert RefreshToken.objects.count() == 6
    assert ActivationCode.objects.count() == 1


def test_a_used_token_of_a_living_chain_still_ends_the_family_and_a_forgotten_one_is_unknown(
    org: Org,
) -> None:
    tokens = chain(org, links=12, every=10)
    forget(now=days(111))

    for token in (tokens[5], tokens[6]):
        with pytest.raises(families.RefreshInvalid):
            families.refresh(token=token, domain=None, now=days(111))
        alive = families.live_families(org.id, now=days(111)).exists()
        assert alive is (token == tokens[5])


def test_codes_nobody_used_go_and_fresh_ones_stay(org: Org) -> None:
    code = new_code(org.id)

    kept = forget(now=days(30))
    gone = forget(now=days(30.1))

    assert kept == NOTHING
    assert gone == Forgotten(codes=1, refresh_tokens=0, families=0, portal_links=0)
    assert activate(code).status_code == 401


def test_the_living_and_the_audit_trail_are_kept(org: Org, stranger: Org) -> None:
    families.revoke_all(org_id=stranger.id, who="test", now=days(0))
    written = AuditEntry.objects.count()

    forget(now=days(31))

    assert AuditEntry.objects.count() == written
    assert TokenFamily.objects.get().org_id == org.id
    assert refresh(org.tokens.refresh_token).status_code == 200


def test_the_command_says_what_it_would_do_and_then_does_it_once(org: Org) -> None:
    families.revoke_all(org_id=org.id, who="test", now=days(-31))
    new_code(org.id)
    ActivationCode.objects.filter(used_at=None).update(created_at=days(-40), expires_at=days(-39))

    def run(*words: str) -> str:
        out = StringIO()
        call_command("forget_tokens", *words, stdout=out)
        return out.getvalue().strip()

    said = [run("--dry-run"), run("--dry-run"), run(), run()]

    what = "2 codes, 1 refresh tokens, 1 families, 0 portal links"
    assert said[:3] == [f"would delete {what}", f"would delete {what}", f"deleted {what}"]
    assert said[3] == "deleted 0 codes, 0 refresh tokens, 0 families, 0 portal links"


def test_what_would_go_is_what_goes(org: Org, stranger: Org) -> None:
    chain(org, links=12, every=10)
    families.revoke_all(org_id=stranger.id, who="test", now=days(1))
    new_code(stranger.id)

    foretold = forgettable(now=days(111))

    assert foretold == forget(now=days(111))
    assert foretold.refresh_tokens == 7


def test_beat_does_it_every_hour(org: Org) -> None:
    families.revoke_all(org_id=org.id, who="test", now=days(-31))

    forget_expired()

    assert not TokenFamily.objects.exists()
    jobs: dict[object, Any] = {
        job["task"]: job["schedule"] for job in settings.CELERY_BEAT_SCHEDULE.values()
    }
    assert jobs["tokens.tasks.forget_expired"].hour == set(range(24))
