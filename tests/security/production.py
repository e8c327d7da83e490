"""A production process of Django's, with nothing behind it: prints what it answers.

Run by itself (`python -m tests.security.production`), since settings are read once.
"""

import json
import os
import sys
from typing import Any

PATHS = (
    ("GET", "/healthz"),
    ("GET", "/admin/login/"),
    ("GET", "/nowhere"),
    ("GET", "/static/nothing.js"),
    ("GET", "/api/nowhere"),
    ("GET", "/api/docs"),
    ("POST", "/api/tokens/refresh"),
    ("OPTIONS", "/api/plans"),
    ("GET", "/.well-known/jwks.json"),
    ("TRACE", "/admin/login/"),
)


def answer(method: str, path: str, *, secure: bool) -> dict[str, Any]:
    """Return one answer of the whole stack of middleware."""
    from django.test import Client

    response = Client().generic(
        method,
        path,
        b"{}" if method == "POST" else b"",
        content_type="application/json",
        secure=secure,
        headers={
            "host": "metergate.example",
            "origin": "https://shop.example",
            "access-control-request-method": "GET",
        },
    )
    body = b"".join(response) if response.streaming else response.content
    return {
        "status": response.status_code,
        "headers": dict(response.headers),
        "cookies": {name: str(morsel) for name, morsel in response.cookies.items()},
        "body": body.decode(errors="replace"),
    }


def main() -> None:
    """Print settings that matter, and every answer over https and http."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    import django

    django.setup()
    from django.conf import settings

    names = (
        "DEBUG",
        "SESSION_COOKIE_NAME",
        "SESSION_COOKIE_SECURE",
        "SESSION_COOKIE_HTTPONLY",
        "SESSION_COOKIE_SAMESITE",
        "CSRF_COOKIE_NAME",
        "MESSAGE_STORAGE",
        "PASSWORD_HASHERS",
    )
    json.dump(
        {
            "settings": {name: getattr(settings, name) for name in names},
            "https": {f"{m} {path}": answer(m, path, secure=True) for m, path in PATHS},
            "http": {f"{m} {path}": answer(m, path, secure=False) for m, path in PATHS},
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
