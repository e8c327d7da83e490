"""The lists the contract suite runs over are complete."""

import json
import re
from typing import Any

import pytest

from config.apidocs import SchemaView
from tests.contract.calls import CALLS
from tests.contract.routes import WITH_BODY, Route, all_routes, client


@pytest.fixture(scope="module")
def document() -> Any:
    return json.loads(client().get("/api/schema?format=json").content)


def test_every_route_has_a_call_and_every_call_a_route() -> None:
    assert {str(route) for route in all_routes()} == set(CALLS)


@pytest.mark.parametrize("route", WITH_BODY, ids=str)
def test_every_field_of_a_body_has_its_kind(route: Route, document: Any) -> None:
    operation = document["paths"][f"/{route.path}"][route.method.lower()]

    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema = document["components"]["schemas"][reference.rpartition("/")[2]]

    assert operation["requestBody"]["required"] is True
    assert set(schema["properties"]) == set(route.call.fields)
    assert set(schema.get("required", ())) == set(route.call.fields) - route.call.optional


def test_every_operation_is_described_with_examples(document: Any) -> None:
    operations = [
        (f"{verb.upper()} {path}", operation)
        for path, verbs in document["paths"].items()
        for verb, operation in verbs.items()
        if verb in ("get", "post", "put", "patch", "delete")
    ]

    bare = {
        name
        for name, operation in operations
        for content in _contents(operation)
        if "application/json" in content and "examples" not in content["application/json"]
    }

    described = {f"{route.method} /{_templated(route.path)}" for route in all_routes()}
    assert {name for name, _ in operations} == described | {
        f"GET {path}" for path in ("/healthz", "/readyz", "/metrics", "/.well-known/jwks.json")
    }
    assert bare == set()


def _templated(path: str) -> str:
    return re.sub(r"<[^:>]+:([^>]+)>", r"{\1}", path)


def _contents(operation: Any) -> list[Any]:
    answers = operation["responses"].values()
    parts = [*answers, *([operation["requestBody"]] if "requestBody" in operation else [])]
    return [part["content"] for part in parts if "content" in part]


def test_the_document_is_built_once_and_written_in_both_forms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = client().get("/api/schema?format=json")
    built: list[object] = []
    monkeypatch.setattr(SchemaView.generator_class, "get_schema", lambda *a, **k: built.append(a))

    again = client().get("/api/schema?format=json")
    as_yaml = client().get("/api/schema", headers={"Accept": "application/vnd.oai.openapi"})

    assert again.content == first.content
    assert as_yaml.content.startswith(b"openapi: 3.1")
    assert first.headers["Content-Type"] == "application/vnd.oai.openapi+json"
    assert built == []
