"""Leads each request from its head to a thread: read whole first, then by turn."""

from collections.abc import Hashable
from typing import Any, NamedTuple

import structlog
from django.conf import settings

from config.contract.errors import (
    ApiError,
    InternalError,
    MalformedJson,
    RequestTimeout,
    Unavailable,
    ValidationFailed,
)
from config.edge import answers, routes
from config.edge.answers import Application
from config.edge.bodies import Reader
from config.edge.environ import Environ, environ_of
from config.edge.lanes import Lane, Limits, Neighbours
from config.edge.log import count_refusal
from tokens import callers
from tokens.throttles import address_of, household

logger = structlog.get_logger("metergate.edge")


class Caller(NamedTuple):
    """Who is counted for a request: an owner of a token that was let in, or an address."""

    key: Hashable
    is_stranger: bool


class Call:
    """One request that has arrived whole, and the way to answer it."""

    __slots__ = ("application", "caller", "closes", "environ", "is_stranger", "proto", "size")

    def __init__(
        self, application: Application, environ: Environ, proto: Any, caller: Caller
    ) -> None:
        self.application = application
        self.environ = environ
        self.proto = proto
        self.caller, self.is_stranger = caller
        self.size = 0
        self.closes = False

    def run(self) -> int:
        """Have the application answer; returns the bytes of the body."""
        try:
            return answers.answer(self.application, self.environ, self.proto, closes=self.closes)
        except Exception:  # noqa: BLE001 - the thread is not the request's
            logger.exception("request_failed", route="unknown")
            self.turn_away(InternalError(), "failed")
            return 0

    def refuse(self, reason: str) -> None:
        """Answer that there is no room."""
        self.turn_away(Unavailable("Too many requests are waiting; try again shortly"), reason)

    def turn_away(self, error: ApiError, reason: str) -> None:
        """Answer with an error, before or instead of the application."""
        count_refusal(reason, error.status)
        answers.refuse(self.environ, self.proto, error, closes=self.closes)


class Door:
    """Takes every request of a process as soon as its head is there."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._reader = Reader(settings.WEB_BODY_SECONDS)
        hot, places, wide = (
            settings.WEB_HOT_THREADS,
            settings.STRIPE_PLACES,
            settings.WEB_WIDE_THREADS,
        )
        of_one = int(settings.STRIPE_CALLERS["places_per_org"])
        limits = (
            # More of one caller would answer no more of its requests: a process runs one
            # thread of Python at a time, and each that wants to run delays the others.
            Limits(routes.HOT, hot, half_of(hot), quarter_of(hot), quarter_of(hot)),
            Limits(
                routes.STRIPE, places, of_one, half_of(places), most_of(places), has_threads=True
            ),
            # One organisation's batches or statements, one at a time: two of them keep a
            # process, and its database, busy by themselves.
            Limits(routes.WIDE, wide, 1, half_of(wide), most_of(wide), has_threads=True),
            Limits(routes.MACHINE, 1, 1, 1, 1, waiting=64, waiting_of_one=16, has_threads=True),
        )
        neighbours = Neighbours()
        self._lanes = {each.name: Lane(each, neighbours) for each in limits}
        self._once = frozenset({settings.TENANT_HEADER})

    def start(self) -> None:
        """Begin to look for late bodies."""
        self._reader.start()

    def __call__(self, scope: Any, proto: Any) -> None:
        """Take one request; returns when it was answered, queued, or its body awaited."""
        if scope.path == "/healthz" and scope.method in ("GET", "HEAD"):
            answers.healthy(scope, proto)
            return
        try:
            environ = environ_of(scope, once=self._once)
        except ValidationFailed as error:
            environ = {"PATH_INFO": scope.path}
            call = Call(self._application, environ, proto, Caller("", True))
            call.closes = True
            call.turn_away(error, "headers")
            return
        route = routes.route_of(
            environ["REQUEST_METHOD"], scope.path, form_cap=settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        )
        call = Call(self._application, environ, proto, _caller_of(environ, route))
        lane = self._lanes[route.lane]
        length = _length_of(environ, scope)
        if length == 0:
            lane.submit(call)
        elif length is not None and length > route.cap:
            # Unread: the application refuses it by its length, after it knows who calls.
            call.closes = True
            lane.submit(call)
        else:
            self._read(call, lane, length, route.cap)

    def _read(self, call: Call, lane: Lane, length: int | None, cap: int) -> None:
        def ended(body: bytes) -> None:
            call.size = len(body)
            call.environ["CONTENT_LENGTH"] = str(len(body))
            call.environ["wsgi.input"].write(body)
            call.environ["wsgi.input"].seek(0)
            lane.submit(call)

        def failed(reason: str) -> None:
            call.closes = True
            if reason == "large":
                call.environ["CONTENT_LENGTH"] = str(cap + 1)
                lane.submit(call)
            elif reason == "memory":
                call.refuse(reason)
            else:
                error = RequestTimeout() if reason == "late" else MalformedJson(_BROKEN)
                call.turn_away(error, reason)

        self._reader.read(
            call.proto, caller=call.caller, length=length, cap=cap, ended=ended, failed=failed
        )


_BROKEN = "The body did not arrive whole"


def most_of(slots: int) -> int:
    """Return all of some slots but one, or the only one."""
    return max(1, slots - 1)


def half_of(slots: int) -> int:
    """Return half of some slots, and one at least."""
    return max(1, slots // 2)


def quarter_of(slots: int) -> int:
    """Return a quarter of some slots, and one at least."""
    return max(1, slots // 4)


def _caller_of(environ: Environ, route: routes.Route) -> Caller:
    owner = callers.owner_of(environ.get("HTTP_AUTHORIZATION"))
    if owner is not None:
        return Caller(owner, is_stranger=False)
    return Caller((household(address_of(environ)), route.apart), is_stranger=True)


def _length_of(environ: Environ, scope: Any) -> int | None:
    """Return the length of the body, None where it comes in chunks. HTTP has checked both."""
    if "transfer-encoding" in scope.headers:
        return None
    return int(environ.get("CONTENT_LENGTH") or 0)
