from pathlib import Path

import environ
import psycopg.conninfo
import pytest

from config.launcher.accounts import caller
from config.launcher.binaries import PostgresBinaries
from config.launcher.commands import common_variables
from config.launcher.environment import (
    addresses_given,
    broker_beside,
    for_children,
    sandbox_wanted,
)
from config.launcher.postgres import Postgres


def test_the_database_url_reads_the_same_everywhere(tmp_path: Path) -> None:
    server = Postgres(PostgresBinaries(tmp_path, 18), tmp_path, Path("/run/mg-x y"), caller())

    url = server.url("metergate_app", "metergate")

    for_django = environ.Env.db_url_config(url)
    for_libpq = psycopg.conninfo.conninfo_to_dict(url)
    assert for_django["ENGINE"] == "django.db.backends.postgresql"
    assert (for_django["USER"], for_django["NAME"]) == ("metergate_app", "metergate")
    assert for_django["OPTIONS"] == {"host": "/run/mg-x y"}
    assert for_libpq == {"user": "metergate_app", "dbname": "metergate", "host": "/run/mg-x y"}


@pytest.mark.parametrize(
    ("valkey", "broker"),
    [
        ("redis://cache:6379", "redis://cache:6379/1"),
        ("redis://cache:6379/0", "redis://cache:6379/1"),
        ("rediss://:pw@cache:6379/4", "rediss://:pw@cache:6379/4"),
        ("valkey://cache:6379/0", "redis://cache:6379/1"),
        ("unix:///run/valkey.sock?db=0", "redis+socket:///run/valkey.sock?virtual_host=1"),
    ],
)
def test_the_broker_lives_beside_the_callers_valkey(valkey: str, broker: str) -> None:
    assert broker_beside(valkey) == broker


def test_redis_url_is_as_good_as_valkey_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://cache:6379/0")

    assert addresses_given() == {
        "VALKEY_URL": "redis://cache:6379/0",
        "CELERY_BROKER_URL": "redis://cache:6379/1",
    }


def test_what_the_caller_has_set_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PORT", "9000")
    monkeypatch.setenv("STRIPE_MODE", "")

    env = for_children({"PORT": "8000", "STRIPE_MODE": "sandbox"}, tmp_path)

    assert env["PORT"] == "9000"
    assert env["STRIPE_MODE"] == "sandbox"
    assert env["PATH"].startswith(f"{tmp_path}/bin:")


@pytest.mark.parametrize(
    ("name", "value"), [("STRIPE_API_BASE", "http://127.0.0.1:12111"), ("STRIPE_MODE", "live")]
)
def test_no_sandbox_where_stripe_is_elsewhere(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    assert sandbox_wanted()

    monkeypatch.setenv(name, value)

    assert not sandbox_wanted()


@pytest.mark.parametrize(
    "variables",
    [
        {"STRIPE_API_BASE": "http://127.0.0.1:12111", "STRIPE_ACCOUNT": "acct_1"},
        {"STRIPE_MODE": "live", "PUBLIC_URL": "https://mg.example"},
        {"SANDBOX_URL": "http://127.0.0.1:9999"},
    ],
)
def test_whoever_joins_an_instance_talks_to_the_same_stripe(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str]
) -> None:
    with monkeypatch.context() as shell:
        for name, value in variables.items():
            shell.setenv(name, value)
        published = common_variables(tmp_path, fresh_metrics=False)

    joining = for_children(published, tmp_path)

    assert {name: joining[name] for name in variables} == variables
    if "SANDBOX_URL" not in variables:
        assert "SANDBOX_URL" not in joining


def test_no_key_of_stripe_is_published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STRIPE_API_KEY", "sk_live_canary")

    assert "canary" not in str(common_variables(tmp_path, fresh_metrics=False))
