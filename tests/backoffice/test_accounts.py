"""Accounts of staff, their roles, and their passwords."""

from collections.abc import Callable
from io import StringIO

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from config.backoffice.roles import OUR_APPS, ROLES, sync_roles
from tests.backoffice.conftest import PASSWORD

pytestmark = pytest.mark.django_db
Staff = Callable[[str], Client]
NEW = "another-password-of-staff"


def rights(name: str) -> set[str]:
    return set(Group.objects.get(name=name).permissions.values_list("codename", flat=True))


@pytest.mark.parametrize("role", ROLES)
def test_a_fresh_database_has_the_roles_and_they_read_everything_of_ours(role: str) -> None:
    reading = Permission.objects.filter(
        content_type__app_label__in=OUR_APPS, codename__startswith="view_"
    )

    assert reading.count() > 15
    assert set(reading.values_list("codename", flat=True)) <= rights(role)


@pytest.mark.parametrize("role", ROLES)
def test_no_role_may_write_a_table_or_touch_accounts(role: str) -> None:
    held = {code for code in rights(role) if not code.startswith("view_")}

    assert held == ROLES[role]
    assert not Group.objects.filter(name=role, permissions__content_type__app_label="auth").exists()


def test_a_migration_puts_a_changed_role_right_again() -> None:
    group = Group.objects.get(name="auditor")
    group.permissions.set(Permission.objects.filter(codename__in=["add_user", "view_plan"]))

    sync_roles()

    assert "add_user" not in rights("auditor")
    assert "view_usageevent" in rights("auditor")


def test_the_log_in_page_lets_staff_in(client: Client, root: User) -> None:
    assert client.get("/admin/login/").status_code == 200

    response = client.post("/admin/login/", {"username": "root", "password": PASSWORD})

    assert (response.status_code, response.headers["Location"]) == (302, "/admin/")
    assert client.get("/admin/").status_code == 200


def test_an_account_that_is_not_of_staff_stays_outside(client: Client) -> None:
    User.objects.create_user("customer", password=PASSWORD)

    response = client.post("/admin/login/", {"username": "customer", "password": PASSWORD})

    assert response.status_code == 200
    assert client.get("/admin/").status_code == 302


def test_staff_change_their_own_password(client: Client, root: User) -> None:
    client.force_login(root)

    response = client.post(
        "/admin/password_change/",
        {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW},
        follow=True,
    )

    assert response.status_code == 200
    root.refresh_from_db()
    assert root.check_password(NEW)


def test_a_password_that_is_too_short_is_refused(client: Client, root: User) -> None:
    client.force_login(root)

    client.post(
        "/admin/password_change/",
        {"old_password": PASSWORD, "new_password1": "short", "new_password2": "short"},
    )

    root.refresh_from_db()
    assert root.check_password(PASSWORD)


def test_a_superuser_makes_an_account_with_a_role(staff: Staff) -> None:
    client = staff("superuser")
    auditor = Group.objects.get(name="auditor")

    client.post(
        "/admin/auth/user/add/",
        {
            "username": "ana",
            "usable_password": "true",
            "password1": PASSWORD,
            "password2": PASSWORD,
        },
    )
    ana = User.objects.get(username="ana")
    form = {"username": "ana", "is_active": "on", "is_staff": "on", "groups": [auditor.pk]}
    client.post(f"/admin/auth/user/{ana.pk}/change/", form)

    ana.refresh_from_db()
    assert (ana.is_staff, ana.is_superuser) == (True, False)
    assert ana.has_perm("usage.view_usageevent")


def test_a_superuser_sets_somebody_elses_password(staff: Staff, root: User) -> None:
    client = staff("superuser")
    url = f"/admin/auth/user/{root.pk}/password/"

    assert "../password/" in client.get(f"/admin/auth/user/{root.pk}/change/").content.decode()
    client.post(url, {"usable_password": "true", "password1": NEW, "password2": NEW})

    root.refresh_from_db()
    assert root.check_password(NEW)


def test_no_page_shows_any_of_a_passwords_hash(staff: Staff, root: User) -> None:
    shown = staff("superuser").get(f"/admin/auth/user/{root.pk}/change/").content.decode()

    algorithm, salt, hashed = root.password.split("$")
    assert f"{algorithm}</" not in shown
    assert salt[:6] not in shown
    assert hashed[:6] not in shown


@pytest.mark.parametrize("role", ROLES)
def test_no_role_reaches_accounts(staff: Staff, root: User, role: str) -> None:
    client = staff(role)

    for url in (
        "/admin/auth/user/",
        "/admin/auth/user/add/",
        f"/admin/auth/user/{root.pk}/change/",
        f"/admin/auth/user/{root.pk}/password/",
        "/admin/auth/group/",
    ):
        assert client.get(url).status_code == 403, url


def test_the_right_to_change_accounts_alone_makes_nobody_a_superuser(
    staff: Staff, root: User
) -> None:
    clerk = User.objects.create(username="clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(content_type__app_label="auth"))
    client = Client()
    client.force_login(clerk)

    response = client.post(
        f"/admin/auth/user/{clerk.pk}/change/", {"username": "clerk", "is_superuser": "on"}
    )

    assert response.status_code == 403
    assert client.get(f"/admin/auth/user/{root.pk}/password/").status_code == 403
    clerk.refresh_from_db()
    assert not clerk.is_superuser


def test_an_account_is_never_deleted(staff: Staff, root: User) -> None:
    client = staff("superuser")
    form = {"action": "delete_selected", "_selected_action": root.pk, "post": "yes"}

    assert client.post(f"/admin/auth/user/{root.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post("/admin/auth/user/", form)

    assert User.objects.filter(pk=root.pk).exists()


def test_the_three_roles_are_not_edited_and_not_deleted(staff: Staff) -> None:
    client = staff("superuser")
    auditor = Group.objects.get(name="auditor")
    url = f"/admin/auth/group/{auditor.pk}"
    form = {"action": "delete_selected", "_selected_action": auditor.pk, "post": "yes"}

    assert client.get(f"{url}/change/").status_code == 200
    assert client.post(f"{url}/change/", {"name": "readers"}).status_code == 403
    assert client.post(f"{url}/delete/", {"post": "yes"}).status_code == 403
    client.post("/admin/auth/group/", form)

    assert Group.objects.filter(name="auditor").exists()


def test_a_superuser_makes_a_group_beyond_the_roles(staff: Staff) -> None:
    client = staff("superuser")
    view_plan = Permission.objects.get(codename="view_plan")

    client.post("/admin/auth/group/add/", {"name": "sales", "permissions": [view_plan.pk]})

    group = Group.objects.get(name="sales")
    assert group.permissions.get() == view_plan
    group.delete()


def ensure_admin() -> str:
    said = StringIO()
    call_command("ensure_admin", stdout=said)
    return said.getvalue()


def test_the_first_administrator_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_USERNAME", "first")
    monkeypatch.setenv("ADMIN_PASSWORD", PASSWORD)

    assert ensure_admin() == "first made\n"
    monkeypatch.setenv("ADMIN_PASSWORD", NEW)
    assert ensure_admin() == "first is there\n"

    first = User.objects.get(username="first")
    assert (first.is_superuser, first.check_password(PASSWORD)) == (True, True)


def test_an_administrator_without_a_password_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADMIN_PASSWORD", raising=False)

    with pytest.raises(CommandError, match="ADMIN_PASSWORD"):
        ensure_admin()

    assert not User.objects.exists()


def test_production_refuses_a_weak_password_and_does_not_repeat_it(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.EMBEDDED = False
    monkeypatch.setenv("ADMIN_PASSWORD", "letmein")

    with pytest.raises(CommandError, match="ADMIN_PASSWORD") as refused:
        ensure_admin()

    assert "letmein" not in str(refused.value)
    assert not User.objects.exists()
