"""What a production process answers, asked once for all tests here."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.live import ROOT


@pytest.fixture(scope="session")
def production(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the settings and answers of a process with APP_ENV=production and no database."""
    nowhere: Path = tmp_path_factory.mktemp("production")
    env = {
        "PATH": os.environ["PATH"],
        "APP_ENV": "production",
        "SECRET_KEY": "s" * 50,
        "TOKEN_HASH_KEY": "t" * 50,
        "STATEMENT_KEY": "u" * 50,
        "TOKEN_SIGNING_KEYS": os.environ["TOKEN_SIGNING_KEYS"],
        "ALLOWED_HOSTS": "metergate.example",
        "PUBLIC_URL": "https://metergate.example",
        "DATABASE_URL": f"postgres:///nothing?host={nowhere}",
        "VALKEY_URL": "redis://127.0.0.1:1/0",
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
        "STRIPE_MODE": "live",
        "STRIPE_API_KEY": "rk_test_nothing",
        "STRIPE_WEBHOOK_SECRETS": "whsec_nothing",
        "EMAIL_URL": "smtp://127.0.0.1:1",
        "STATIC_ROOT": str(nowhere),
    }
    said = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "tests.security.production"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        check=False,
        text=True,
    )
    assert said.returncode == 0, said.stderr
    read: dict[str, Any] = json.loads(said.stdout.splitlines()[-1])
    return read
