"""What lay in the socket of a Valkey that hung is not the truth when that goes on."""

import time
from collections.abc import Callable, Iterator

import pytest

from config.contract import clock
from config.contract.clients import clients
from config.contract.copy import OrgCopy
from tests.races.valkeys import OwnValkey
from tests.support.cast import Org, make_org, tokens_for
from tokens import families, scopes

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def valkey() -> Iterator[OwnValkey]:
    """A Valkey that a test may pause."""
    server = OwnValkey()
    server.start()
    yield server
    server.close()


class Hang:
    """A hang of Valkey, seen by the process that publishes and by another that reads."""

    def __init__(self, valkey: OwnValkey) -> None:
        self.valkey = valkey
        self.writer, self.reader = OrgCopy(valkey.url), OrgCopy(valkey.url)

    def during(self, *changes: Callable[[], object]) -> None:
        """Make changes while Valkey hangs. Their process dies before Valkey goes on.

        The first is published into the socket; for the others nobody tries any more.
        """
        with clients.swapped("copy", self.writer):
            make_org().check()  # its scripts are known to Valkey
            self.valkey.pause()
            for change in changes:
                change()
        self.writer._closing.set()  # its process dies: nobody sends what it kept
        time.sleep(0.7)  # so long is the outage
        self.valkey.resume()


@pytest.fixture
def hang(valkey: OwnValkey) -> Iterator[Hang]:
    """A hang to come."""
    made = Hang(valkey)
    yield made
    made.writer.close()
    made.reader.close()


def test_a_token_revoked_while_valkey_hung_is_revoked_when_it_goes_on(hang: Hang) -> None:
    org = make_org(included=1000)
    other = tokens_for(org.id, scopes.OWNER)

    def revoke(family_id: str) -> None:
        assert families.revoke_family(
            org_id=org.id, family_id=family_id, who="test", now=clock.real_now()
        )

    hang.during(lambda: revoke(org.tokens.family.id), lambda: revoke(other.family.id))

    with clients.swapped("copy", hang.reader):
        answers = [Org(org.id, tokens).check() for tokens in (org.tokens, other) for _ in range(2)]
    assert {answer.status_code for answer in answers} == {401}
