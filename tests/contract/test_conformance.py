"""Every operation does what the OpenAPI document says, whatever it is sent, whoever sends it.

Requests are made from the document, right ones and wrong ones, and each is sent with an
organisation's, an operator's and a staff token: no 5xx, no status, header or body that the
document does not have, and nothing taken that it forbids.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from config.contract import clock
from tests.billing.owners import new_owner
from tests.contract.credentials import operators_token, staff_token
from tests.contract.narrowed import aim, narrowed
from tests.sandbox.server import Control
from tests.support.cast import Org
from tests.support.length import at_length

pytestmark = pytest.mark.django_db(transaction=True)

#: What is asked of every answer. Not that whatever fits a shape is taken: an instant may lie
#: outside the periods, a plan may not be dearer, and the document cannot say so.
_CHECKS = (
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.unsupported_method,
    checks.allow_header_conformance,
)
#: Where a part of the body that is wrong is answered for by itself, or is not read at all.
_LENIENT = {"POST /api/v1/usage/batch", "GET /healthz", "GET /readyz", "GET /metrics"}
_ASKS_STRIPE = "^/api/(plans/|invoices|payments)"
_HOW = settings(
    deadline=None,
    database=None,
    derandomize=not at_length(),
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)


#: The organisation that the test is about.
_about: list[Org] = []


@cache
def _handler() -> WSGIHandler:
    return WSGIHandler()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """The product, loaded when it is first called."""
    aim(environ, org_id=_about[0].id, now=clock.now().isoformat())
    return _handler()(environ, start_response)


schema = schemathesis.openapi.from_dict(narrowed())
schema.app = application
schema.config.checks.negative_data_rejection.expected_statuses += ["402", "408", "413"]


asking_stripe = schema.include(path_regex=_ASKS_STRIPE)
others = schema.exclude(path_regex=_ASKS_STRIPE)


@pytest.fixture
def caller(org: Org, sandbox: Control) -> Org:
    """An organisation, beside an operator that is admitted."""
    return org


@pytest.fixture
def owner(caller: Org) -> Org:
    """The same where Stripe knows it."""
    return new_owner()


@pytest.mark.torture
@others.parametrize()
@settings(_HOW, max_examples=200 if at_length() else 6)
def test_every_operation_does_what_the_document_says(case: Any, caller: Org) -> None:
    _call(case, caller)


@pytest.mark.torture
@asking_stripe.parametrize()
@settings(_HOW, max_examples=50 if at_length() else 4)
def test_what_asks_stripe_does_what_the_document_says(case: Any, owner: Org) -> None:
    _call(case, owner)


def _call(case: Any, org: Org) -> None:
    _about[:] = [org]
    lenient = case.operation.label in _LENIENT
    chosen = [one for one in _CHECKS if not (lenient and one is checks.negative_data_rejection)]
    for headers in _callers(case, org):
        case.call_and_validate(headers=headers, checks=chosen)


def _callers(case: Any, org: Org) -> list[dict[str, str]]:
    """Return the credentials to call with: all, or only who may for what is wrong anyway."""
    schemes = {name for one in case.operation.definition.raw["security"] for name in one}
    if not schemes:
        return [{}]
    tokens = {
        "accessToken": org.tokens.access_token,
        "operatorOrStaffToken": operators_token(),
        "staffToken": staff_token(),
    }
    is_right = case.meta.generation.mode.is_positive
    chosen = tokens if at_length() or is_right else schemes
    return [{"Authorization": f"Bearer {tokens[name]}"} for name in chosen]
