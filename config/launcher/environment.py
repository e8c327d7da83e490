"""The variables handed to every process; what the caller has set always wins."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit


def given(name: str, *others: str) -> str:
    """The first of these variables the caller has set to something, else ''."""
    return next((v for n in (name, *others) if (v := os.environ.get(n, ""))), "")


def sandbox_wanted() -> bool:
    """Whether Stripe's double is ours to run."""
    return not given("STRIPE_API_BASE") and (given("STRIPE_MODE") or "sandbox") == "sandbox"


#: Where an instance is and which Stripe it talks to. No key: `secrets.env` has the kept one.
_PLACE = (
    *("STRIPE_MODE", "STRIPE_API_BASE", "STRIPE_ACCOUNT", "SANDBOX_URL"),
    *("PUBLIC_URL", "ALLOWED_HOSTS"),
)


def place_given() -> dict[str, str]:
    """What the caller said of that, for whoever joins the instance from another shell."""
    return {name: value for name in _PLACE if (value := given(name))}


def broker_beside(valkey_url: str) -> str:
    """Celery's broker on the caller's own Valkey: the next numbered database of it."""
    url = urlsplit(valkey_url)
    if url.scheme == "unix":
        return f"redis+socket://{url.path}?virtual_host=1"
    scheme = {"valkey": "redis", "valkeys": "rediss"}.get(url.scheme, url.scheme)
    path = "/1" if url.path in ("", "/", "/0") else url.path
    return urlunsplit(url._replace(scheme=scheme, path=path))


def addresses_given() -> dict[str, str]:
    """The servers the caller named, under the names the settings read."""
    found: dict[str, str] = {}
    if database := given("DATABASE_URL"):
        found["DATABASE_URL"] = database
        found["MIGRATE_DATABASE_URL"] = database
    if valkey := given("VALKEY_URL", "REDIS_URL"):
        found["VALKEY_URL"] = valkey
        found["CELERY_BROKER_URL"] = broker_beside(valkey)
    return found


def data_folders(data: Path, *, fresh_metrics: bool) -> dict[str, str]:
    """Make the folders the processes write into, and name them."""
    app = data / "app"
    metrics = app / "prometheus"
    if fresh_metrics:
        # Files of dead processes would be summed into the new ones' numbers.
        shutil.rmtree(metrics, ignore_errors=True)
    for folder in (app, metrics):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {"DATA_DIR": str(app), "PROMETHEUS_MULTIPROC_DIR": str(metrics)}


def for_children(ours: Mapping[str, str], venv: Path) -> dict[str, str]:
    """The caller's environment, completed by ours.

    An empty variable counts as not set: `DATABASE_URL= ./dev run` means ours.
    """
    env = {name: value for name, value in os.environ.items() if value or name not in ours}
    path = env.get("PATH", os.defpath)
    return {
        **ours,
        **env,
        "PATH": f"{venv / 'bin'}{os.pathsep}{path}",
        "VIRTUAL_ENV": str(venv),
        "PYTHONUNBUFFERED": "1",
    }
