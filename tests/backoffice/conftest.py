"""Members of staff, each logged in."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from pytest_django import Settings

from config.backoffice.roles import ROLES
from tests.backoffice.rows import fill

PASSWORD = "seven grey boats at noon"

#: Who looks at the pages in the tests; `superuser` holds every permission there is.
READERS = [*ROLES, "superuser"]


@pytest.fixture(autouse=True)
def quick_passwords(settings: Settings) -> None:
    """A log-in need not take the time here that it takes a guesser."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def staff(db: None) -> Callable[[str], Client]:
    """Return a browser of somebody in this role."""

    def log_in(role: str) -> Client:
        user = User(username=role.replace(" ", "-"), is_staff=True)
        user.is_superuser = role == "superuser"
        user.set_unusable_password()
        user.save()
        if role in ROLES:
            user.groups.add(Group.objects.get(name=role))
        client = Client()
        client.force_login(user)
        return client

    return log_in


@pytest.fixture
def one_of_each(db: None) -> None:
    """A row in every table."""
    fill(1)


@pytest.fixture
def root(db: None) -> User:
    """A superuser who knows a password."""
    return User.objects.create_superuser("root", password=PASSWORD)
