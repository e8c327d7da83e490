"""A data folder and an environment for launcher tests, away from the caller's own."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.launcher.accounts import server_account
from config.launcher.places import PROJECT, Places
from config.launcher.servers import throwaway_folder

GIVEN = [
    *("DATABASE_URL", "MIGRATE_DATABASE_URL", "SANDBOX_DATABASE_URL"),
    *("VALKEY_URL", "REDIS_URL", "CELERY_BROKER_URL", "STRIPE_API_BASE", "STRIPE_MODE"),
    *("SANDBOX_URL", "STRIPE_ACCOUNT", "PUBLIC_URL", "ALLOWED_HOSTS"),
]


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller names no servers, although `./dev test` names ours."""
    for name in GIVEN:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def places() -> Iterator[Places]:
    """Under a parent that the servers' account can reach, which `tmp_path` is not."""
    account = server_account()
    with throwaway_folder(Places(PROJECT, PROJECT, account), in_memory=True) as folder:
        yield Places(PROJECT, folder, account)


@pytest.fixture
def interpreter(tmp_path: Path) -> Path:
    """A folder that looks like a virtual environment with this interpreter."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    os.symlink(sys.executable, folder / "bin" / "python")
    return folder
