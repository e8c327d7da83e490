"""The shape of every answer of every route is what clients were shown."""

import pytest

from tests.contract.answer_scenarios import ANSWERS
from tests.contract.refused_scenarios import refusals
from tests.contract.routes import ROUTES, Route, client
from tests.contract.shapes import SNAPSHOTS, answer_shape, compare, snapshot_path
from tests.sandbox.server import Control

pytestmark = pytest.mark.django_db(transaction=True)

HEALTH = ["GET healthz", "GET readyz", "GET .well-known/jwks.json"]


def test_every_route_has_its_own_scenarios() -> None:
    assert {str(route) for route in ROUTES} == set(ANSWERS)


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_every_answer_of_a_route_has_its_shape(route: Route, sandbox: Control) -> None:
    answers = dict(ANSWERS[str(route)](route, sandbox))

    assert any(answer.status_code < 300 for answer in answers.values())
    compare(str(route), {name: answer_shape(answer) for name, answer in answers.items()})


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_every_refusal_of_a_route_has_its_shape(route: Route, sandbox: Control) -> None:
    answers = dict(refusals(route))

    assert all(answer.status_code >= 400 for answer in answers.values())
    compare(f"{route} refused", {name: answer_shape(answer) for name, answer in answers.items()})


@pytest.mark.parametrize("name", HEALTH)
def test_what_is_not_wrapped_has_its_shape(name: str, transactional_db: None) -> None:
    answer = client().get(f"/{name.removeprefix('GET ')}")

    compare(name, {"answer": answer_shape(answer)})


def test_every_snapshot_is_of_a_route() -> None:
    names = [*HEALTH, *(f"{route}{more}" for route in ROUTES for more in ("", " refused"))]

    assert {path.name for path in SNAPSHOTS.iterdir()} == {
        snapshot_path(name).name for name in names
    }
