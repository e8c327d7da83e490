"""The OpenAPI document says what the product does, and lies in docs/ as it is served."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from config.contract.bodies import Body, parse_query
from config.contract.codes import CODES
from config.contract.errors import UnknownParameter
from config.contract.openapi import operation_of
from tests.contract.refusals import ECHO, refused
from tests.contract.routes import ROUTES, Route, client
from tests.contract.shapes import SNAPSHOTS
from tests.support.cast import Org

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "docs" / "openapi.json"
_HOW = "./dev manage spectacular --format openapi-json --file docs/openapi.json"
#: What a browser's page of the portal says, which is no route of the API.
_OF_PAGES = {"VISIT_OVER", "LINK_GONE"}


@pytest.fixture(scope="module")
def served() -> Any:
    return json.loads(client().get("/api/schema?format=json").content)


def operations(document: Any) -> Iterator[tuple[str, Any]]:
    """Yield every operation by its name."""
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            yield f"{verb.upper()} {path}", operation


def references(node: Any) -> Iterator[str]:
    """Yield whatever a part of the document refers to."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for inner in node.values():
            yield from references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from references(inner)


def resolve(document: Any, reference: str) -> Any:
    """Return what a reference leads to. Raises KeyError."""
    for part in reference.removeprefix("#/").split("/"):
        document = document[part]
    return document


def test_the_document_in_docs_is_the_one_that_is_served(served: Any) -> None:
    assert json.loads(KEPT.read_text(encoding="utf-8")) == served, f"write it anew: {_HOW}"


def test_every_reference_leads_somewhere_and_every_component_is_used(served: Any) -> None:
    used = set(references(served))

    missing = []
    for reference in used:
        try:
            resolve(served, reference)
        except KeyError:
            missing.append(reference)

    named = {f"#/components/schemas/{name}" for name in served["components"]["schemas"]}
    assert missing == []
    assert named <= used


def test_the_document_copies_no_shape_into_its_operations(served: Any) -> None:
    copies = [
        name
        for name, operation in operations(served)
        if name.partition(" ")[2].startswith("/api/") and "documentation" not in operation["tags"]
        for answer in [*operation["responses"].values(), operation.get("requestBody", {})]
        for kind, content in answer.get("content", {}).items()
        if kind == "application/json" and not list(references(content["schema"]))
    ]

    assert copies == []
    assert len(json.dumps(served)) < 200_000


def test_no_answer_is_an_array(served: Any) -> None:
    arrays = [
        (name, status)
        for name, operation in operations(served)
        for status, answer in operation["responses"].items()
        for content in answer.get("content", {}).values()
        if content["schema"].get("type") == "array"
    ]

    assert arrays == []


def test_every_answer_says_which_headers_it_has(served: Any) -> None:
    for name, operation in operations(served):
        for status, answer in operation["responses"].items():
            resolved = resolve(served, answer["$ref"]) if "$ref" in answer else answer

            assert {"x-request-id", "x-correlation-id"} <= set(resolved["headers"]), (name, status)


def test_who_asks_for_a_token_says_so_and_takes_the_tenant_header(served: Any) -> None:
    tenant = {"$ref": "#/components/parameters/Tenant"}

    for route in ROUTES:
        operation = served["paths"][f"/{_templated(route.path)}"][route.method.lower()]

        assert (tenant in operation["parameters"]) is (route.by not in ("", "staff")), str(route)
        assert bool(operation["security"]) is bool(route.by), str(route)
        if route.by:
            assert {"401", "403"} <= set(operation["responses"]), str(route)


def test_a_statement_has_three_forms(served: Any) -> None:
    content = served["paths"]["/api/statements"]["get"]["responses"]["200"]["content"]

    assert set(content) == {"application/json", "text/csv", "text/html"}


def test_the_codes_of_the_document_are_those_the_product_knows(served: Any) -> None:
    assert served["components"]["schemas"]["ErrorCode"]["enum"] == [
        code for codes in CODES.values() for code in codes
    ]


def test_every_code_that_the_source_raises_is_listed() -> None:
    sources = [
        path.read_text(encoding="utf-8")
        for app in ("config", "tokens", "quotas", "usage", "billing", "webhooks")
        for path in (ROOT / app).rglob("*.py")
        if not {"sandbox", "migrations"} & set(path.parts)
    ]
    raised = {
        code
        for source in sources
        for code in re.findall(
            r'(?:super\(\)\.__init__|ApiError)\(\s*"([A-Z][A-Z_]+)"|\bcode="([A-Z][A-Z_]+)"', source
        )
        for code in code
        if code
    }

    assert raised - _OF_PAGES - {code for codes in CODES.values() for code in codes} == set()
    assert len(raised) > 20


def test_every_code_that_was_seen_comes_with_its_status() -> None:
    seen = {
        (answer["status"], answer["body"]["error"]["code"])
        for path in SNAPSHOTS.iterdir()
        for answer in json.loads(path.read_text(encoding="utf-8")).values()
        if isinstance(answer["body"], dict) and "error" in answer["body"]
    }

    assert {(status, code) for status, code in seen if code not in CODES.get(status, ())} == set()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_an_unknown_query_parameter_is_refused_and_not_echoed(
    route: Route, org: Org, sandbox: object
) -> None:
    body = b"" if route.call.body is None else json.dumps(route.valid_body(org)).encode()

    for query in (f"{ECHO}=1", f"{ECHO}", f"{ECHO}={ECHO}&{ECHO}=2"):
        answer = route.send(body, org=org, query=query)

        refused(answer, 400, "VALIDATION_ERROR")


@pytest.mark.django_db(transaction=True)
def test_who_may_not_call_hears_that_before_anything_of_the_query(org: Org) -> None:
    refused(client().get(f"/api/me/entitlements?{ECHO}=1"), 401, "UNAUTHENTICATED")


class _Wanted(Body):
    limit: int = 1


def test_a_query_is_read_by_its_shape(rf: Any) -> None:
    from rest_framework.request import Request

    assert parse_query(_Wanted, Request(rf.get("/?limit=3"))).limit == 3
    with pytest.raises(UnknownParameter):
        parse_query(_Wanted, Request(rf.get("/?Limit=3")))


def test_each_handler_reads_the_query_that_it_describes() -> None:
    """A handler that describes a query and never reads it would let anything in."""
    from django.urls import get_resolver

    for pattern in get_resolver().url_patterns:
        view: Any = getattr(pattern, "callback", None)
        for action in getattr(view, "actions", {}).values():
            handler = getattr(view.cls, action)
            operation = operation_of(handler)
            if operation is None or operation.query is None:
                continue
            assert issubclass(operation.query, msgspec.Struct)
            names = handler.__code__.co_names
            assert {"parse_query", operation.query.__name__} <= set(names), action


def _templated(path: str) -> str:
    return re.sub(r"<[^:>]+:([^>]+)>", r"{\1}", path)
