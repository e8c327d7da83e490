"""One JSON object per line, without secrets and without personal data."""

import logging
import re
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.typing import Processor

REDACTED = "[redacted]"
_SECRET_KEYS = re.compile(
    r"(?i)(pass(word|wd)?|secret|authorization|cookie|api_?key|signature|e-?mail|payload"
    r"|(access|refresh|csrf|bearer)_?token|^token$|activation_?code|client_?secret|dsn|database_url)"
)
_SECRET_VALUES = re.compile(
    r"eyJ[\w-]{8,}(?:\.[\w-]+){1,2}"  # a JWT
    r"|\b(?:sk|rk|pk)_(?:test|live)_\w+|\bwhsec_[\w+/=]+"  # Stripe keys
    r"|\bmg[cloprsv]_[\w-]{16,}"  # our codes, refresh tokens, links, operator and signing secrets
    r"|\b(?:seti|pi|cs)_\w+_secret_\w+"  # Stripe client secrets
    r"|(?i:bearer\s+)[\w.~+/=-]+"
    r"|[\w.+%-]+@[\w-]+(?:\.[\w-]+)+"  # e-mail addresses
    r"|(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"  # user:password in an URL
    r"|(?<=/portal/)[\w-]{16,}"  # one-time links
    # A password has no form of its own, but the texts of faults name it.
    r"|(?i:pass(?:word|wd)?|secret|api_?key)[\"']?\s*[:=]\s*(?:\"[^\"]*\"|'[^']*'|[^\s,;&)}\]]+)"
)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank what must never reach a log: by the key's name, and by the look of the value."""
    for key in list(event):
        event[key] = REDACTED if _SECRET_KEYS.search(key) else cleaned(event[key])
    return event


def cleaned(value: Any) -> Any:
    """Return a value without what looks like a secret or an e-mail address, at any depth."""
    if isinstance(value, str):
        return _SECRET_VALUES.sub(REDACTED, value)
    if isinstance(value, dict):
        return {
            k: REDACTED if isinstance(k, str) and _SECRET_KEYS.search(k) else cleaned(v)
            for k, v in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [cleaned(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _SECRET_VALUES.sub(REDACTED, str(value))


def configure(*, service: str, version: str, level: str) -> dict[str, Any]:
    """Set structlog up and return the LOGGING setting that sends the rest the same way."""

    def stamp(_l: Any, _m: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        event["version"] = version
        for name in ("request_id", "correlation_id", "tenant_id"):
            event.setdefault(name, None)
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
        stamp,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [structlog.stdlib.ExtraAdder(), *shared],
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    _drop_unloggable,
                    redact,
                    structlog.processors.JSONRenderer(),
                ],
            }
        },
        "handlers": {"stdout": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stdout"], "level": level},
        "loggers": {
            # SQL with its parameters and wire bodies never go out, DEBUG or not.
            "django.db.backends": {"level": "INFO"},
            "stripe": {"level": "WARNING"},
            "urllib3": {"level": "WARNING"},
            # Django's own request log repeats what `metergate.request` says, with the URL.
            "django.request": {"level": "CRITICAL"},
            "django.server": {"level": "WARNING"},
            # These quote the path or the Host header; the request line says the status.
            "django.security": {"level": "CRITICAL"},
            "axes": {"level": "ERROR"},
        },
    }


def _drop_unloggable(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    # Django attaches the request object, Celery its whole task context.
    for key in ("request", "data", "args", "kwargs", "return_value"):
        event.pop(key, None)
    return event


def get_level(debug: bool) -> str:
    """Return the root level."""
    return logging.getLevelName(logging.DEBUG if debug else logging.INFO)
