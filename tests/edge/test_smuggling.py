"""Where one request ends and the next begins is never two things at once."""

import json

import pytest

from tests.edge.wire import head, in_chunks, wire
from tests.support.live import Live

pytestmark = pytest.mark.django_db(transaction=True)

BODY = json.dumps({"refreshToken": "mgr_x"}).encode()
NEXT = head("GET", "/api/plans").encode()
JSON = "Content-Type: application/json"


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 5", f"Content-Length: {len(BODY)}"),
        ("Content-Length: +5",),
        ("Content-Length: 5, 6",),
        ("Content-Length: -1",),
        ("Transfer-Encoding: chunked, identity", "Content-Length: 5"),
        ("Transfer-Encoding: gzip",),
        ("Transfer-Encoding : chunked",),
    ],
    ids=str,
)
def test_a_body_whose_end_is_in_doubt_is_refused_and_nothing_after_it_is_read(
    served: Live, lines: tuple[str, ...]
) -> None:
    with wire(served) as link:
        link.send(head("POST", "/api/tokens/refresh", JSON, *lines), BODY, NEXT)

        assert link.receive().status == 400
        assert link.is_closed()


def test_chunks_go_before_a_length_and_the_connection_ends_with_them(served: Live) -> None:
    with wire(served) as link:
        both = ("Transfer-Encoding: chunked", "Content-Length: 3")
        link.send(head("POST", "/api/tokens/refresh", JSON, *both), in_chunks(BODY, 7), NEXT)

        # The whole body was read: a token that is none, and not a body that is none.
        assert link.receive().status in (401, 429)
        assert link.is_closed()


def test_a_line_cannot_be_folded_into_another_header(served: Live) -> None:
    with wire(served) as link:
        link.send(head("GET", "/api/plans", "X-One: a\r\n X-Two: b"))

        assert link.receive().status == 400
