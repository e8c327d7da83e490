"""What watches us is answered: by any name, in any version, whatever else goes on."""

import json

import pytest

from tests.edge.wire import ask, head
from tests.support.live import Live

pytestmark = pytest.mark.django_db(transaction=True)

MACHINES = ("/healthz", "/readyz", "/metrics")


@pytest.mark.parametrize("path", MACHINES)
@pytest.mark.parametrize("host", ["10.1.2.3:8000", "10_0_0_1", "[::1]", "", "evil.example"])
def test_health_answers_to_any_name(served: Live, path: str, host: str) -> None:
    assert ask(served, head("GET", path, host=host)).status == 200


@pytest.mark.parametrize("path", MACHINES)
def test_health_answers_http_1_0_without_a_name(served: Live, path: str) -> None:
    assert ask(served, f"GET {path} HTTP/1.0\r\n\r\n").status == 200


def test_all_else_answers_to_its_own_name_and_says_which_setting_names_it(served: Live) -> None:
    answer = ask(served, head("GET", "/api/plans", host="evil.example"))

    assert answer.status == 400
    assert json.loads(answer.body)["error"]["details"]["fields"] == {
        "": ["The Host is not one of ALLOWED_HOSTS"]
    }
    assert b"evil.example" not in answer.body
    assert ask(served, head("GET", "/api/plans")).status == 200


@pytest.mark.parametrize(
    "lines",
    [
        head("GET", "/healthz"),
        head("POST", "/api/plans", "Content-Length: 9"),
        head("GET", "/api/plans", "Host: twice"),
    ],
    ids=["healthy", "late", "refused"],
)
def test_what_answers_before_the_application_says_the_same_to_browsers(
    served: Live, lines: str
) -> None:
    answer = ask(served, lines)

    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "same-origin"
