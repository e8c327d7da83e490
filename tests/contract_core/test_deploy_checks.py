"""`check --deploy` refuses what no production may have, and names it."""

import pytest
from pytest_django import Settings

from config.contract.deploy_checks import check_deployment

GOOD = {
    "SECRET_KEY": "s" * 50,
    "TOKEN_HASH_KEY": "t" * 32,
    "STATEMENT_KEY": "u" * 32,
    "ALLOWED_HOSTS": ["metergate.example"],
    "PUBLIC_URL": "https://metergate.example",
    "THROTTLE_HOT": "500/second",
    "STAFF_MFA_REQUIRED": True,
}


@pytest.fixture(autouse=True)
def production(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIGRATE_DATABASE_URL", "postgres://migrator:x@db/metergate")
    monkeypatch.setitem(settings.DATABASES["default"], "USER", "metergate_app")
    for name, value in GOOD.items():
        setattr(settings, name, value)


def test_a_production_as_it_should_be_is_silent() -> None:
    assert check_deployment() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", "s" * 31),
        ("TOKEN_HASH_KEY", "short"),
        ("STATEMENT_KEY", " " * 40),
        ("ALLOWED_HOSTS", ["*"]),
        ("ALLOWED_HOSTS", ["metergate.example", "*"]),
        ("PUBLIC_URL", "http://metergate.example"),
        ("PUBLIC_URL", "metergate.example"),
        ("THROTTLE_SIGNUP", ""),
        ("THROTTLE_ADMIN_TOKEN", ""),
        ("THROTTLE_HOT", ""),
        ("AXES_ENABLED", False),
    ],
)
def test_each_fault_is_an_error_that_names_the_setting(
    settings: Settings, name: str, value: object
) -> None:
    setattr(settings, name, value)

    [error] = check_deployment()

    assert error.is_serious()
    assert name in error.msg


def test_a_back_office_that_a_password_alone_opens_is_warned_of(settings: Settings) -> None:
    settings.STAFF_MFA_REQUIRED = False

    [warning] = check_deployment()

    assert not warning.is_serious(), "warned of, not refused"
    assert "STAFF_MFA_REQUIRED" in warning.msg


@pytest.mark.parametrize("role", ["metergate_owner", "postgres", "migrator"])
def test_the_role_that_migrates_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    monkeypatch.setitem(settings.DATABASES["default"], "USER", role)

    [error] = check_deployment()

    assert f"DATABASE_URL connects as {role}" in error.msg
