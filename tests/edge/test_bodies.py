"""Bodies that come slowly, in pieces, encoded, too large, or never."""

import json
from contextlib import ExitStack

import pytest

from tests.edge.wire import ask, head, in_chunks, post, wire
from tests.support.cast import Org
from tests.support.live import Live
from usage.models import UsageEvent
from webhooks.views import EVENT_CAP

pytestmark = pytest.mark.django_db(transaction=True)

JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"


def bearer(org: Org) -> str:
    return f"Authorization: Bearer {org.tokens.access_token}"


def check_of(org: Org, **more: object) -> bytes:
    return json.dumps({"orgId": org.id, "metric": "api_call", **more}).encode()


def test_sockets_whose_bodies_never_come_stop_nobody_and_are_closed_with_408(
    served: Live, org: Org
) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(wire(served)) for _ in range(40)]
        for link in idle:
            link.send(head("POST", "/api/signup", JSON, "Content-Length: 60000"), "{")

        answers = [
            ask(served, head("GET", path)).status
            for path in ("/healthz", "/readyz", "/metrics", "/api/plans")
        ]
        checked = ask(served, post("/api/quota/check", check_of(org), bearer(org)))
        late = [link.receive() for link in idle]

        assert answers == [200] * 4
        assert checked.data["allow"] is True
        assert {answer.status for answer in late} == {408}
        assert {answer.error for answer in late} == {"REQUEST_TIMEOUT"}
        assert {answer.headers["connection"] for answer in late} == {"close"}
        assert all(answer.headers["x-request-id"] for answer in late)
        assert all(link.is_closed() for link in idle)


@pytest.mark.parametrize("about", ["Content-Length: 60000", CHUNKED])
def test_a_body_that_drips_is_given_up_however_long_it_goes_on(served: Live, about: str) -> None:
    drop = b"1\r\n{\r\n" if about == CHUNKED else b"{"
    with wire(served) as link:
        link.send(head("POST", "/api/signup", JSON, about))
        link.socket.settimeout(0.05)  # between two drops
        for _ in range(600):
            link.send(drop)
            try:
                first = link.socket.recv(65536)
                break
            except TimeoutError:
                continue
        else:
            pytest.fail("it was read for ever")

    assert first.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_chunked_body_is_read_like_any_other(served: Live, org: Org, size: int) -> None:
    answer = ask(
        served,
        head("POST", "/api/quota/check", JSON, CHUNKED, bearer(org)),
        in_chunks(check_of(org), size),
    )

    assert answer.data["allow"] is True


def test_a_chunked_body_that_breaks_off_counts_nothing(served: Live, org: Org) -> None:
    whole = json.dumps({"orgId": org.id, "metric": "api_call", "value": 1}).encode()
    with wire(served) as link:
        link.send(head("POST", "/api/quota/check", JSON, CHUNKED, bearer(org)))
        link.send(b"%x\r\n%s\r\n" % (len(whole), whole), b"not a length\r\n")

        assert link.receive().status == 400


@pytest.mark.parametrize(
    ("path", "cap"),
    [
        ("/api/quota/check", 64 * 1024),
        ("/api/plans/preview", 64 * 1024),
        ("/api/v1/usage/batch", 1024 * 1024),
        ("/api/webhooks/stripe", EVENT_CAP),
    ],
)
def test_a_chunked_body_is_read_up_to_the_cap_and_no_further(
    served: Live, org: Org, path: str, cap: int
) -> None:
    def sent(length: int) -> tuple[int, str]:
        body = in_chunks(b"{}".ljust(length), 16_384)
        answer = ask(served, head("POST", path, JSON, CHUNKED, bearer(org)), body)
        return answer.status, answer.error

    assert sent(cap) in [(400, "VALIDATION_ERROR"), (400, "SIGNATURE_INVALID")]
    assert sent(cap + 1) == (413, "PAYLOAD_TOO_LARGE")


def test_a_chunked_body_without_end_is_refused_while_it_is_sent(served: Live, org: Org) -> None:
    with wire(served) as link:
        link.send(head("POST", "/api/quota/check", JSON, CHUNKED, bearer(org)))
        link.send(b"10001\r\n", b" " * 0x10001, b"\r\n")  # and the rest never comes

        answer = link.receive()

        assert (answer.status, answer.error) == (413, "PAYLOAD_TOO_LARGE")
        assert answer.headers["connection"] == "close"
        assert link.is_closed()


def test_a_body_in_very_many_pieces_is_refused(served: Live, org: Org) -> None:
    pieces = in_chunks(check_of(org).ljust(9_000), 1)

    answer = ask(served, head("POST", "/api/quota/check", JSON, CHUNKED, bearer(org)), pieces)

    assert answer.status == 413


def test_a_body_declared_too_large_is_refused_unread_and_the_connection_says_that_it_closes(
    served: Live, org: Org
) -> None:
    with wire(served) as link:
        link.send(head("POST", "/api/quota/check", JSON, "Content-Length: 70000", bearer(org)))

        answer = link.receive()

        assert (answer.status, answer.error) == (413, "PAYLOAD_TOO_LARGE")
        assert answer.headers["connection"] == "close"
        assert link.is_closed()


def test_who_sends_too_much_without_a_token_hears_first_that_it_needs_one(served: Live) -> None:
    answer = ask(served, head("POST", "/api/quota/check", JSON, "Content-Length: 70000"))

    assert (answer.status, answer.error) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "deflate", "gzip, identity"])
def test_an_encoded_body_is_415(served: Live, org: Org, encoding: str) -> None:
    lines = (bearer(org), f"Content-Encoding: {encoding}")

    answer = ask(served, post("/api/quota/check", check_of(org), *lines))

    assert (answer.status, answer.error) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_a_connection_that_stays_open_serves_one_request_after_another(
    served: Live, org: Org
) -> None:
    with wire(served) as link:
        for _ in range(3):
            link.send(post("/api/quota/check", check_of(org), bearer(org)))
            assert link.receive().data["allow"] is True
        link.send(post("/api/quota/check", check_of(org), bearer(org), "Connection: close"))
        last = link.receive()

        assert last.headers["connection"] == "close"
        assert link.is_closed()


def test_a_use_whose_body_stays_away_is_not_counted(served: Live, org: Org) -> None:
    with wire(served) as link:
        link.send(head("POST", "/api/v1/usage", JSON, "Content-Length: 400", bearer(org)), "{")

        assert link.receive().status == 408

    assert not UsageEvent.objects.filter(org_id=org.id).exists()
