"""The WSGI application: Stripe's API, the customer's pages, the control endpoints."""

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from billing.sandbox import faults, pages
from billing.sandbox.api import Answer, Api, Request
from billing.sandbox.config import Config
from billing.sandbox.control import Control, read_json
from billing.sandbox.database import Database
from billing.sandbox.errors import StripeFault
from billing.sandbox.forms import decode
from billing.sandbox.store import Store

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_BODY_CAP = 1 << 20
_LOOPBACK = {"127.0.0.1", "::1"}
_PAGE = re.compile(r"^/(checkout|portal|invoice|setup)/([A-Za-z0-9_]+)$")
_REASONS = {
    200: "OK",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    413: "Content Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
}


class App:
    """One sandbox as a WSGI callable."""

    def __init__(self, database: Database, config: Config) -> None:
        self._database = database
        self._config = config
        self.api = Api(database, config)
        self.control = Control(database, config)

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        try:
            body = _body(environ)
            if path.startswith("/_sandbox/"):
                answer = self._control(environ, method, path, body)
            elif path.startswith(("/v1/", "/v2/")):
                answer = self.api.answer(_request(environ, method, path, body))
            else:
                answer = self._page(method, path, environ.get("QUERY_STRING", ""), body)
        except StripeFault as refused:
            answer = Answer(status=refused.status, body=json.dumps(refused.body), headers={})
        encoded = answer.body.encode()
        headers = {
            "Content-Type": "application/json",
            "Cache-Control": "no-store",
            "Content-Length": str(len(encoded)),
            **answer.headers,
        }
        start_response(
            f"{answer.status} {_REASONS.get(answer.status, 'Answer')}", list(headers.items())
        )
        return [encoded]

    def _control(self, environ: "WSGIEnvironment", method: str, path: str, body: str) -> Answer:
        if path == "/_sandbox/healthz":
            return Answer(status=200, body='{"ok": true}', headers={})
        if environ.get("REMOTE_ADDR") not in _LOOPBACK:
            raise StripeFault("Control endpoints answer on loopback only.", status=403)
        self.api.check_key(environ.get("HTTP_AUTHORIZATION", ""))
        query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
        made = self.control.answer(method, path.removeprefix("/_sandbox/"), query, read_json(body))
        return Answer(status=200, body=json.dumps(made), headers={})

    def _page(self, method: str, path: str, query: str, body: str) -> Answer:
        found = _PAGE.match(path)
        if found is None or method not in {"GET", "POST"}:
            return _html(404, pages.render("Not found", "<p>There is nothing here.</p>"))
        kind, id_ = found.groups()
        form = decode(body) if method == "POST" else {}
        secret = dict(parse_qsl(query)).get("secret", "")
        try:
            html, target = self._act(kind, id_, secret, form)
        except StripeFault as refused:
            if refused.ordered and not refused.keep:
                with self._database.transaction() as connection:
                    faults.take(connection, refused.ordered)
            if method != "POST" or refused.status == 404:
                return _html(refused.status, pages.render("Not available", f"<p>{refused}</p>"))
            # The form again, with what went wrong.
            chosen = {name: value for name, value in form.items() if name == "card"}
            html, _ = self._act(kind, id_, secret, chosen, str(refused))
            return _html(refused.status, html)
        if target:
            return Answer(status=302, body="", headers={"Location": target})
        return _html(200, html)

    def _act(
        self, kind: str, id_: str, secret: str, form: dict[str, Any], error: str | None = None
    ) -> pages.Page:
        kept: StripeFault | None = None
        with self._database.transaction() as connection:
            store = Store(connection, self._config)
            shown = store.find(id_)
            if form and shown is not None and shown.get("customer"):
                store.lock_customer(shown["customer"])
            try:
                if kind == "checkout":
                    return pages.checkout_page(store, id_, form, error)
                page = {
                    "portal": pages.portal_page,
                    "invoice": pages.invoice_page,
                    "setup": pages.setup_page,
                }[kind]
                return page(store, id_, secret, form, error)
            except StripeFault as refused:
                if not refused.keep:
                    raise
                kept = refused
        raise kept


def _body(environ: "WSGIEnvironment") -> str:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > _BODY_CAP:
        raise StripeFault("The body is too large.", status=413)
    raw: bytes = environ["wsgi.input"].read(length) if length else b""
    return raw.decode("utf-8", "replace")


def _request(environ: "WSGIEnvironment", method: str, path: str, body: str) -> Request:
    return Request(
        method=method,
        path=path,
        query=environ.get("QUERY_STRING", ""),
        body=body,
        authorization=environ.get("HTTP_AUTHORIZATION", ""),
        idempotency_key=environ.get("HTTP_IDEMPOTENCY_KEY"),
        version=environ.get("HTTP_STRIPE_VERSION"),
    )


def _html(status: int, text: str) -> Answer:
    policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    return Answer(
        status=status,
        body=text,
        headers={
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": policy,
            "Referrer-Policy": "no-referrer",
        },
    )
