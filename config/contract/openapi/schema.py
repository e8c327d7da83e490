"""From what a route says of itself to its part of the OpenAPI document."""

from collections.abc import Mapping
from typing import Any

import msgspec
from django.conf import settings
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ComponentIdentity, ResolvedComponent

from config.contract.openapi import components
from config.contract.openapi.operation import Operation, operation_of

Schema = dict[str, Any]

_JSON = "application/json"
_TEMPLATE = "#/components/schemas/{name}"
_STAFF: list[Schema] = [{"staffToken": []}]
#: What every route may answer; what those that ask for a token may, that act for an
#: organisation, that take a body, and that are throttled.
_ALWAYS = (400, 500, 503)
_WITH_TOKEN = (401, 403)
_WITH_ORGANISATION = (404,)
_WITH_BODY = (408, 413, 415)
_THROTTLED = (429,)


class ContractSchema(AutoSchema):
    """Describes the handlers that `documented` marks, and nothing else."""

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: Any
    ) -> Schema | None:
        """Return the operation; its shapes go to the components."""
        handler = getattr(self.view, getattr(self.view, "action", None) or method.lower(), None)
        operation = operation_of(handler)
        if operation is None:
            return None
        self.registry, self.path, self.path_regex = registry, path, path_regex
        self.path_prefix, self.method = path_prefix, method.upper()
        security = self.get_auth()
        described: Schema = {
            "operationId": self.get_operation_id(),
            "summary": operation.summary,
            "description": "\n\n".join(
                text for text in (self.get_description(), operation.description) if text
            ),
            "tags": [operation.tag],
            "parameters": self._parameters(operation, of_staff=security == _STAFF),
            "security": security,
            "responses": self._responses(operation, of_staff=security == _STAFF),
        }
        if operation.body is not None:
            example = dict(operation.body_example or {})
            described["requestBody"] = {
                "required": True,
                "content": {_JSON: _content(self._reference(operation.body), example)},
            }
        for shape in operation.shapes:
            self._reference(shape)
        return described

    def _is_list_view(self, serializer: Any = None) -> bool:
        # Every answer is one envelope, whatever the handler is called.
        return False

    def _parameters(self, operation: Operation, *, of_staff: bool) -> list[Schema]:
        parameters: list[Schema] = [
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": {"type": "string", "minLength": 1},
            }
            for name in self._path_variables()
        ]
        if operation.query is not None:
            parameters += _query(operation.query)
        parameters += [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": text,
                "schema": {"type": "string"},
            }
            for name, text in operation.headers
        ]
        shared = ["RequestId", "CorrelationId"]
        if not operation.public and not of_staff:
            shared.insert(0, "Tenant")
        if operation.keyed:
            shared.insert(0, "IdempotencyKey")
        return parameters + [components.parameter(key) for key in shared]

    def _path_variables(self) -> list[str]:
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]

    def _responses(self, operation: Operation, *, of_staff: bool) -> Schema:
        return {
            str(operation.status): self._success(operation),
            **{
                str(status): components.error_reference(status)
                for status in sorted(self._errors(operation, of_staff=of_staff))
            },
        }

    def _errors(self, operation: Operation, *, of_staff: bool) -> set[int]:
        statuses = {*_ALWAYS, *operation.errors}
        if not operation.public:
            statuses |= {*_WITH_TOKEN} if of_staff else {*_WITH_TOKEN, *_WITH_ORGANISATION}
        if operation.body is not None:
            statuses |= {*_WITH_BODY}
        if operation.keyed:
            statuses.add(409)
        if self.view.throttle_classes:
            statuses |= {*_THROTTLED}
        return statuses

    def _success(self, operation: Operation) -> Schema:
        names: dict[str, bool] = {**components.EVERYWHERE}
        if not operation.public:
            names[settings.TENANT_HEADER] = False
        if operation.keyed or operation.replays:
            names["Idempotent-Replayed"] = False
        if operation.rate_limited:
            names |= {"RateLimit": False, "RateLimit-Policy": False}
        names["Cache-Control"] = False
        if operation.forms:
            names["Content-Disposition"] = False
        example = {"ok": True, "data": dict(operation.answer_example)}
        content = {_JSON: _content(self._envelope(operation), example)}
        for media_type, text in (operation.forms or {}).items():
            content[media_type] = _content({"type": "string"}, text)
        return {
            "description": "Done",
            "headers": components.headers(names),
            "content": content,
        }

    def _envelope(self, operation: Operation) -> Schema:
        properties: Schema = {"ok": {"const": True}, "data": self._reference(operation.answer)}
        if operation.meta is not None:
            properties["meta"] = self._reference(operation.meta)
        return {
            "type": "object",
            "required": ["ok", "data"],
            "properties": properties,
            "additionalProperties": False,
        }

    def _reference(self, shape: type) -> Schema:
        (reference,), described = msgspec.json.schema_components([shape], ref_template=_TEMPLATE)
        for name, schema in described.items():
            # Two shapes of one name are told apart by this, and warned of.
            identity: Any = ComponentIdentity(msgspec.json.encode(schema))  # type: ignore[no-untyped-call]
            component: Any = ResolvedComponent(name, ResolvedComponent.SCHEMA, schema, identity)  # type: ignore[no-untyped-call]
            self.registry.register_on_missing(component)
        return reference


def add_shared_components(result: Schema, generator: Any, request: Any, public: bool) -> Schema:
    """Add to the document what its routes refer to; a hook of drf-spectacular."""
    for kind, named in components.shared().items():
        present: Schema = result["components"].setdefault(kind, {})
        present.update(named)
        result["components"][kind] = dict(sorted(present.items()))
    # The verbs of a path come out of a set: in an order of their own in each process.
    result["paths"] = {path: dict(sorted(verbs.items())) for path, verbs in result["paths"].items()}
    return result


def _content(schema: Mapping[str, Any], example: Any) -> Schema:
    return {"schema": dict(schema), "examples": {"example": {"value": example}}}


def _query(shape: type) -> list[Schema]:
    """Return the parameters of a query string. It holds text: nothing in it is null."""
    _, described = msgspec.json.schema_components([shape], ref_template=_TEMPLATE)
    schema = described[shape.__name__]
    required = schema.get("required", ())
    parameters = []
    for name, field in schema["properties"].items():
        choices = [one for one in field.pop("anyOf", ()) if one != {"type": "null"}]
        if choices:
            field = {**field, **choices[0]}
        if field.get("default", "") is None:
            del field["default"]
        description = field.pop("description", "")
        parameters.append(
            {
                "name": name,
                "in": "query",
                "required": name in required,
                **({"description": description} if description else {}),
                "schema": field,
            }
        )
    return parameters
