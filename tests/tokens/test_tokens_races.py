"""Many at once: one activation of a code, one successor of a token, no place beyond the plan."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg
import pytest
from django.db import OperationalError, connection, transaction
from django.test import Client
from pytest_django import Settings

from config.contract import clock
from config.contract.errors import ApiError
from tests.support.cast import Org, data, tokens_for
from tests.support.database import superuser
from tests.support.length import Length
from tests.tokens.http import activate, new_code, refresh
from tokens import families, services
from tokens.codes import InstallationLimit, create_code
from tokens.models import ActivationCode, OrgAccess, RefreshToken, TokenFamily
from tokens.scopes import INSTALLATION
from tokens.suspension import restore, suspend

pytestmark = pytest.mark.django_db(transaction=True)
T = TypeVar("T")


@pytest.fixture(autouse=True)
def unthrottled(settings: Settings) -> None:
    """All come from one address here."""
    settings.THROTTLE_TOKENS = ""


def at_once(threads: int, act: Callable[[int], T], *, rounds: int = 1) -> list[list[T]]:
    """Let so many threads act at the same moment, round after round; return the answers."""
    together = threading.Barrier(threads)

    def run(number: int) -> list[T]:
        try:
            answers = []
            for _ in range(rounds):
                together.wait()
                answers.append(act(number))
            return answers
        finally:
            connection.close()

    with ThreadPoolExecutor(threads) as pool:
        by_thread = list(pool.map(run, range(threads)))
    return [list(answers) for answers in zip(*by_thread, strict=True)]


@pytest.mark.torture
def test_64_threads_redeem_one_code_and_one_of_them_gets_in(org: Org, length: Length) -> None:
    rounds = length.of(4, 50)
    codes = [new_code(org.id) for _ in range(rounds)]
    position = Counter[int]()

    def redeem(number: int) -> int:
        code = codes[position[number]]
        position[number] += 1
        return int(activate(code).status_code)

    answers = at_once(64, redeem, rounds=rounds)

    assert [Counter(one)[200] for one in answers] == [1] * rounds
    # 503: could not get the row's lock in time, and has nothing.
    assert {status for one in answers for status in one} <= {200, 401, 503}
    assert TokenFamily.objects.count() == rounds + 1
    assert RefreshToken.objects.count() == rounds + 1


@pytest.mark.torture
def test_32_threads_refresh_one_token_and_all_hold_the_same_successor(
    org: Org, length: Length
) -> None:
    rounds = length.of(4, 50)
    token = org.tokens.refresh_token
    chain = [token]

    for _ in range(rounds):
        [answers] = at_once(32, lambda _: refresh(chain[-1]))
        statuses = Counter(answer.status_code for answer in answers)
        assert set(statuses) <= {200, 503}
        [successor] = {
            data(answer)["refreshToken"] for answer in answers if answer.status_code == 200
        }
        chain.append(successor)

    assert len(set(chain)) == rounds + 1
    assert RefreshToken.objects.count() == rounds + 1
    assert RefreshToken.objects.filter(used_at=None).count() == 1
    assert TokenFamily.objects.get().revoked_at is None


def test_codes_made_at_once_never_exceed_the_plan(org: Org) -> None:
    OrgAccess.objects.filter(org_id=org.id).update(installation_limit=5)  # one is there

    def make(_: int) -> bool:
        try:
            create_code(org_id=org.id, issued_by="test", now=clock.real_now())
        except (InstallationLimit, OperationalError):
            return False
        return True

    [made] = at_once(16, make)

    assert sum(made) == 4
    assert ActivationCode.objects.filter(used_at=None).count() == 4


def test_a_code_that_becomes_a_family_meanwhile_is_counted_once(org: Org) -> None:
    OrgAccess.objects.filter(org_id=org.id).update(installation_limit=5)
    refusals = []

    for _ in range(20):
        families.revoke_all(org_id=org.id, who="test", now=clock.real_now())
        codes = [new_code(org.id) for _ in range(5)]

        def act(number: int, codes: list[str] = codes) -> bool:
            if number < 5:
                return bool(activate(codes[number]).status_code == 200)
            try:
                create_code(org_id=org.id, issued_by="test", now=clock.real_now())
            except InstallationLimit:
                return True
            return False

        [answers] = at_once(8, act)
        refusals += answers

    assert all(refusals)


def test_what_is_revoked_while_it_refreshes_is_revoked(org: Org) -> None:
    other = tokens_for(org.id, INSTALLATION)
    tokens = [org.tokens.refresh_token, other.refresh_token]

    def act(number: int) -> Any:
        if number == 0:
            return families.revoke_all(org_id=org.id, who="test", now=clock.real_now())
        return refresh(tokens[number % 2])

    [answers] = at_once(8, act)

    assert answers[0] == 2
    assert not families.live_families(org.id, now=clock.real_now()).exists()
    for answer in answers[1:]:
        if answer.status_code == 200:
            issued = data(answer)
            assert refresh(issued["refreshToken"]).status_code == 401
            headers = {"Authorization": f"Bearer {issued['accessToken']}"}
            assert Client().get("/api/me/entitlements", headers=headers).status_code == 401


def test_what_is_activated_while_all_is_revoked_does_not_stay(org: Org) -> None:
    for _ in range(10):
        code = new_code(org.id)

        def act(number: int, code: str = code) -> None:
            if number:
                families.revoke_all(org_id=org.id, who="test", now=clock.real_now())
            else:
                activate(code)

        at_once(2, act)

    # A code that came first was revoked, one that came second became nothing.
    families_left = families.live_families(org.id, now=clock.real_now())
    assert not families_left.exists()


def test_an_activation_that_holds_its_code_is_waited_for_and_its_family_revoked(org: Org) -> None:
    code = new_code(org.id)
    held, revoked = threading.Event(), threading.Event()

    def slowly_activate() -> None:
        try:
            with transaction.atomic():
                services.activate(code=code, domain=None, now=clock.real_now())
                held.set()
                _until_somebody_waits()
        finally:
            connection.close()

    def revoke() -> int:
        try:
            held.wait()
            return families.revoke_all(org_id=org.id, who="test", now=clock.real_now())
        finally:
            revoked.set()
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        activating, revoking = pool.submit(slowly_activate), pool.submit(revoke)
        activating.result()
        ended = revoking.result()

    assert ended == 2  # the organisation's own family, and the one just activated
    assert not families.live_families(org.id, now=clock.real_now()).exists()


@pytest.mark.torture
def test_all_doors_at_once_leave_no_deadlock_and_no_second_truth(org: Org, length: Length) -> None:
    OrgAccess.objects.filter(org_id=org.id).update(installation_limit=8)
    faults: list[str] = []

    def act(number: int) -> None:
        now = clock.real_now()
        try:
            match number % 6:
                case 0:
                    made = create_code(org_id=org.id, issued_by="test", now=now)
                    issued = services.activate(code=made.code, domain=None, now=now)
                    families.refresh(token=issued.refresh_token, domain=None, now=now)
                case 1:
                    families.refresh(token=org.tokens.refresh_token, domain=None, now=now)
                case 2:
                    families.revoke_all(org_id=org.id, who="test", now=now)
                case 3:
                    suspend(org_id=org.id, reason="race", who="test", now=now)
                    restore(org_id=org.id, reason="race", who="test", now=now)
                case 4:
                    for family in families.live_families(org.id, now=now):
                        families.revoke_family(
                            org_id=org.id, family_id=family.id, who="test", now=now
                        )
                case _:
                    create_code(org_id=org.id, issued_by="test", now=now)
        except ApiError:
            pass
        except OperationalError as error:
            cause = error.__cause__
            # 55P03: the lock did not come in time, which is a 503 to the client.
            if not (isinstance(cause, psycopg.Error) and cause.sqlstate == "55P03"):
                faults.append(repr(error))

    at_once(18, act, rounds=length.of(10, 100))

    assert not faults
    live = families.live_families(org.id, now=clock.real_now()).count()
    assert live + families.waiting_codes(org.id, now=clock.real_now()).count() <= 8


def _until_somebody_waits() -> None:
    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with superuser(str(connection.settings_dict["NAME"])) as watcher:
        for _ in range(500):
            if watcher.execute(waiting).fetchone() == (1,):
                return
            watcher.execute("SELECT pg_sleep(0.01)")
    raise AssertionError("nobody waits for the code")
