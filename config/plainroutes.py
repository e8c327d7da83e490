"""What the OpenAPI document says of the routes that are no views of the contract's."""

from typing import Any

from config.contract.openapi import components

Json = dict[str, Any]

_IDS = [components.parameter("RequestId"), components.parameter("CorrelationId")]
_WORDS = {"type": "array", "items": {"type": "string"}}


def _content(media_type: str, schema: Json, example: Any) -> Json:
    return {media_type: {"schema": schema, "examples": {"example": {"value": example}}}}


def _answer(description: str, content: Json, **headers: bool) -> Json:
    named = {name.replace("_", "-"): always for name, always in headers.items()}
    return {
        "description": description,
        "headers": components.headers({**components.EVERYWHERE, **named}),
        "content": content,
    }


def _read(name: str, summary: str, answers: Json, *, tag: str, query: Json | None = None) -> Json:
    return {
        "get": {
            "operationId": name,
            "summary": summary,
            "tags": [tag],
            "parameters": [*([query] if query else []), *_IDS],
            "security": [],
            "responses": answers,
        }
    }


def _object(required: list[str], **properties: Json) -> Json:
    return {"type": "object", "required": required, "properties": properties}


def _document(media_type: str, example: Any) -> Json:
    kind = {"type": "object", "required": ["openapi", "info", "paths"]}
    return _content(media_type, kind, example)


def _parameter(name: str, description: str, **schema: Any) -> Json:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": {"type": "string", **schema},
    }


_UNAVAILABLE = {"503": components.error_reference(503)}
_EXAMPLE = {"openapi": "3.1.0", "info": {"title": "Metergate", "version": "0.1.0"}, "paths": {}}
_KEY = _object(
    ["kty", "crv", "kid", "use", "alg", "x", "y"],
    **{name: {"type": "string"} for name in ("kty", "crv", "kid", "use", "alg", "x", "y")},
)
_KEY_EXAMPLE = {
    "kty": "EC",
    "crv": "P-256",
    "kid": "2026-11",
    "use": "sig",
    "alg": "ES256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}

PATHS: Json = {
    "/healthz": _read(
        "healthz",
        "The process answers",
        {
            "200": _answer(
                "It does",
                _content("application/json", _object(["ok"], ok={"const": True}), {"ok": True}),
            )
        },
        tag="health",
    ),
    "/readyz": _read(
        "readyz",
        "Ready to serve",
        {
            "200": _answer(
                "It is; `degraded` names what is away or stands still, where something is",
                _content(
                    "application/json",
                    _object(["ok"], ok={"const": True}, degraded=_WORDS),
                    {"ok": True, "degraded": ["valkey"]},
                ),
            ),
            "503": _answer(
                "It is not: `failed` says for want of what",
                _content(
                    "application/json",
                    _object(["ok", "failed"], ok={"const": False}, failed=_WORDS),
                    {"ok": False, "failed": ["database"]},
                ),
            ),
        },
        tag="health",
    ),
    "/metrics": _read(
        "metrics",
        "Metrics for Prometheus",
        {
            "200": _answer(
                "Prometheus' text format",
                _content("text/plain", {"type": "string"}, "metergate_smoke_total 1.0\n"),
            )
        },
        tag="health",
    ),
    "/.well-known/jwks.json": _read(
        "jwks",
        "The keys that verify access tokens (RFC 7517)",
        {
            "200": _answer(
                "The public keys",
                _content(
                    "application/json",
                    _object(["keys"], keys={"type": "array", "items": _KEY}),
                    {"keys": [_KEY_EXAMPLE]},
                ),
                Cache_Control=True,
            )
        },
        tag="tokens",
    ),
    "/api/schema": _read(
        "schema",
        "This document",
        {
            "200": _answer(
                "OpenAPI 3.1, as YAML or as JSON",
                {
                    **_document("application/vnd.oai.openapi", _EXAMPLE),
                    **_document("application/yaml", _EXAMPLE),
                    **_document("application/vnd.oai.openapi+json", _EXAMPLE),
                    **_document("application/json", _EXAMPLE),
                },
                Content_Disposition=True,
            ),
            "400": components.error_reference(400),
            "404": components.error_reference(404),
            **_UNAVAILABLE,
        },
        tag="documentation",
        query=_parameter(
            "format", "The form, where `Accept` cannot say it.", enum=["json", "yaml"]
        ),
    ),
    "/api/docs": _read(
        "docs",
        "This document as a page",
        {
            "200": _answer(
                "A page, or its script",
                {
                    **_content("text/html", {"type": "string"}, "<!DOCTYPE html><html></html>"),
                    **_content("application/javascript", {"type": "string"}, '"use strict";'),
                },
            ),
            "400": components.error_reference(400),
            **_UNAVAILABLE,
        },
        tag="documentation",
        query=_parameter("script", "There where the page asks for its script."),
    ),
}
