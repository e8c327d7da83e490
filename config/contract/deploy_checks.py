"""What `check --deploy` refuses besides what Django's own checks do."""

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

#: Shorter keys can be guessed from one thing that was made with them.
LEAST_KEY = 32
_KEYS = ("SECRET_KEY", "TOKEN_HASH_KEY", "STATEMENT_KEY")
#: Roles that may change the schema, the ledger's rights with it.
_OWNERS = ("metergate_owner", "postgres")


def check_deployment(*, app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """Return an error for each setting that no production may have, a warning where one is weak."""
    return [*_short_keys(), *_web(), *_brakes(), *_second_factor(), *_database_role()]


def _short_keys() -> Iterator[CheckMessage]:
    for name in _KEYS:
        if len(getattr(settings, name).strip()) < LEAST_KEY:
            yield Error(f"{name} has fewer than {LEAST_KEY} characters", id="metergate.E001")


def _web() -> Iterator[CheckMessage]:
    for host in settings.ALLOWED_HOSTS:
        if host.strip() in ("*", ".") or host.strip().startswith("*"):
            yield Error("ALLOWED_HOSTS lets every host in: name yours", id="metergate.E002")
    url = urlsplit(settings.PUBLIC_URL)
    if url.scheme != "https" or not url.hostname:
        yield Error("PUBLIC_URL is not an https address", id="metergate.E003")


def _brakes() -> Iterator[CheckMessage]:
    for name in sorted(set(dir(settings))):
        if name.startswith("THROTTLE_") and not str(getattr(settings, name)).strip():
            yield Error(f"{name} is switched off", id="metergate.E004")
    if not getattr(settings, "AXES_ENABLED", True):
        yield Error("AXES_ENABLED is off: nobody is locked out", id="metergate.E004")


def _second_factor() -> Iterator[CheckMessage]:
    if not settings.STAFF_MFA_REQUIRED:
        yield Warning(
            "STAFF_MFA_REQUIRED is off: a password alone may open the back office",
            hint="Install requirements/mfa.txt and set it (docs/back-office.md).",
            id="metergate.W001",
        )


def _database_role() -> Iterator[CheckMessage]:
    role = str(settings.DATABASES["default"].get("USER") or "")
    migrates = urlsplit(os.environ.get("MIGRATE_DATABASE_URL", "")).username
    if role in _OWNERS or (migrates and role == migrates):
        yield Error(
            f"DATABASE_URL connects as {role}, which may change the schema and the ledger",
            hint="Use a role that only works with rows (docs/operations.md).",
            id="metergate.E005",
        )
