"""What a route says of itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

V = TypeVar("V", bound=Callable[..., Any])
_ATTRIBUTE = "openapi_operation"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One verb of one path: its shapes, an example of each, and the refusals it knows.

    `query` is also what the route lets a query string hold: without it, nothing.
    `meta` is what may stand beside the data. `errors` are those beside what every route may
    answer (config.contract.openapi.schema).
    `keyed` routes take an Idempotency-Key; `replays` ones remember by an id in the body;
    `rate_limited` ones say what is left of a quota. `shapes` are described beside those
    that body and answer name. `forms` are the answer's other media types, each with an
    example. `public` routes ask for no token.
    """

    summary: str
    tag: str
    answer: type
    answer_example: Mapping[str, Any]
    status: int = 200
    body: type | None = None
    body_example: Mapping[str, Any] | None = None
    query: type | None = None
    meta: type | None = None
    headers: Sequence[tuple[str, str]] = ()
    errors: Sequence[int] = ()
    keyed: bool = False
    replays: bool = False
    rate_limited: bool = False
    shapes: Sequence[type] = ()
    forms: Mapping[str, str] | None = None
    public: bool = False
    description: str = ""


def documented(**described: Any) -> Callable[[V], V]:
    """Describe a route's handler; takes what `Operation` takes."""
    operation = Operation(**described)

    def describe(handler: V) -> V:
        setattr(handler, _ATTRIBUTE, operation)
        return handler

    return describe


def operation_of(handler: Any) -> Operation | None:
    """Return what a handler said of itself, if it did."""
    operation: Operation | None = getattr(handler, _ATTRIBUTE, None)
    return operation
