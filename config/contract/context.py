"""`request.ctx`: what a handler may know about the call it serves."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import structlog
from django.http import HttpRequest

from config.contract.clients import Clients, clients

if TYPE_CHECKING:
    from rest_framework.request import Request


_decision: ContextVar[Mapping[str, Any] | None] = ContextVar("decision", default=None)


@dataclass(frozen=True, slots=True)
class Environment:
    """The settings a handler may read."""

    app_env: str
    stripe_mode: str
    tenant_header: str
    service: str
    version: str
    signup_returns_code: bool


@dataclass(frozen=True, slots=True)
class CallState:
    """Who calls, under which ids, since when (real time, UTC)."""

    request_id: str
    correlation_id: str
    started_at: datetime
    trace_id: str | None = None
    tenant_id: str | None = None
    principal: str | None = None
    scopes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class RequestContext:
    """One frozen object per request; a change makes a new one."""

    env: Environment
    call_state: CallState
    clients: Clients

    @cached_property
    def logger(self) -> Any:
        """A logger bound with the ids of this call; made only when somebody logs."""
        state = self.call_state
        return structlog.get_logger("metergate").bind(
            request_id=state.request_id,
            correlation_id=state.correlation_id,
            tenant_id=state.tenant_id,
        )


class ContextRequest(HttpRequest):
    """A request that went through ContextMiddleware (for type checkers)."""

    ctx: RequestContext


def context_of(request: "HttpRequest | Request") -> RequestContext:
    """Return the request's context, made by ContextMiddleware."""
    return cast(ContextRequest, request).ctx


def identify(
    request: HttpRequest, *, tenant_id: str | None, principal: str, scopes: frozenset[str]
) -> None:
    """Note who the caller turned out to be."""
    context = context_of(request)
    state = replace(context.call_state, tenant_id=tenant_id, principal=principal, scopes=scopes)
    cast(ContextRequest, request).ctx = replace(context, call_state=state)
    structlog.contextvars.bind_contextvars(tenant_id=tenant_id)


def new_context(env: Environment, state: CallState) -> RequestContext:
    """Return the context of a call that begins."""
    return RequestContext(env=env, call_state=state, clients=clients)


def tell_decision(**numbers: Any) -> None:
    """Note what this call was refused by, for its log line; of many, the first one counts."""
    told = _decision.get()
    if told is None:
        _decision.set({"times": 1, **numbers})
    else:
        _decision.set({**told, "times": told["times"] + 1})


def told_decision() -> Mapping[str, Any] | None:
    """Return what this call was refused by, if it was."""
    return _decision.get()


def forget_decision() -> None:
    """Begin a call: nothing was decided yet."""
    _decision.set(None)
