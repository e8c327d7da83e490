"""What production says to browsers and programs, over https and over http."""

from typing import Any

import pytest

from tests.security.production import PATHS

PAGES = ("GET /admin/login/", "GET /nowhere", "GET /static/nothing.js", "GET /api/docs")
PROGRAMS = (
    "GET /api/nowhere",
    "POST /api/tokens/refresh",
    "OPTIONS /api/plans",
    "GET /.well-known/jwks.json",
)
each_path = pytest.mark.parametrize("asked", [f"{method} {path}" for method, path in PATHS])


@each_path
def test_every_answer_over_https_demands_https_for_a_year_to_come(
    production: dict[str, Any], asked: str
) -> None:
    hsts = production["https"][asked]["headers"]["Strict-Transport-Security"]

    assert int(hsts.split(";")[0].removeprefix("max-age=")) >= 31_536_000
    assert "includeSubDomains" in hsts


@each_path
def test_no_answer_is_guessed_at_embedded_or_named_to_others(
    production: dict[str, Any], asked: str
) -> None:
    headers = production["https"][asked]["headers"]
    policy = [part.strip() for part in headers["Content-Security-Policy"].split(";")]

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] in ("same-origin", "no-referrer")
    assert {"object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"} <= set(policy)


@pytest.mark.parametrize("asked", PAGES)
def test_a_page_over_http_is_sent_to_https(production: dict[str, Any], asked: str) -> None:
    answer = production["http"][asked]

    assert answer["status"] == 301
    assert answer["headers"]["Location"].startswith("https://metergate.example/")


@pytest.mark.parametrize("asked", PROGRAMS)
def test_a_program_over_http_is_refused_and_not_led_on(
    production: dict[str, Any], asked: str
) -> None:
    answer = production["http"][asked]

    assert answer["status"] == 403
    assert "FORBIDDEN" in answer["body"]
    assert "Location" not in answer["headers"]


def test_health_is_answered_over_http(production: dict[str, Any]) -> None:
    assert production["http"]["GET /healthz"]["status"] == 200


def test_cookies_of_staff_are_bound_to_the_host_and_shut_to_scripts(
    production: dict[str, Any],
) -> None:
    settings = production["settings"]
    [(name, cookie)] = production["https"]["GET /admin/login/"]["cookies"].items()

    assert name == settings["CSRF_COOKIE_NAME"] == "__Host-csrftoken"
    assert {"HttpOnly", "Path=/", "Secure", "SameSite=Lax"} <= set(cookie.split("; "))
    assert "Domain=" not in cookie
    assert settings["SESSION_COOKIE_NAME"] == "__Host-sessionid"
    assert settings["SESSION_COOKIE_SECURE"] is settings["SESSION_COOKIE_HTTPONLY"] is True
    assert settings["SESSION_COOKIE_SAMESITE"] == "Lax"
    # No third cookie: what is said to staff lies in their session.
    assert settings["MESSAGE_STORAGE"].endswith("session.SessionStorage")


def test_production_debugs_nothing_and_hashes_passwords_with_argon2(
    production: dict[str, Any],
) -> None:
    assert production["settings"]["DEBUG"] is False
    assert production["settings"]["PASSWORD_HASHERS"][0].endswith("Argon2PasswordHasher")


def test_trace_shows_nobody_what_was_sent(production: dict[str, Any]) -> None:
    assert "shop.example" not in production["https"]["TRACE /admin/login/"]["body"]


def test_what_fails_tells_nothing_of_how(production: dict[str, Any]) -> None:
    # Its database is away; a page for programmers would show settings and frames.
    body = production["https"]["POST /api/tokens/refresh"]["body"]

    assert production["https"]["POST /api/tokens/refresh"]["status"] in (400, 503)
    assert "Traceback" not in body
    assert "psycopg" not in body
