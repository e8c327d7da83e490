"""Which passwords staff may choose, and how they are kept and compared."""

from contextlib import suppress

import pytest
from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from config.backoffice.passwords import CONTEXT_WORDS
from tests.backoffice.conftest import PASSWORD

GOOD = [
    "correct horse battery staple",
    "vier Woerter ohne Sinn dabei",
    "Qx7-mm!2kd9Zp",
    "пароль-из-четырёх-слов-подряд",
    "🐙🐙🐙 octopus under a lamp 🐙",
    "x9" * 3 + "kQ4wzV7bT" * 10,
    "only lower case letters here",
]
GUESSABLE = [
    "password1234",
    "Password2026!",
    "P@ssw0rdP@ssw0rd",
    "qwertyuiop123456",
    "123456789012345",
    "aaaaaaaaaaaaaaaa",
    "abcabcabcabcabc",
    "letmein!!!!!!!!!",
    "liverpoolliverpool1",
    "metergate-admin-2026",
    "stripe.billing.usage",
    "Margarethe.Kowalski1",
]


@pytest.mark.parametrize("password", GOOD)
def test_any_characters_make_a_password_if_there_is_enough_of_them(password: str) -> None:
    validate_password(password)


@pytest.mark.parametrize("password", GUESSABLE)
def test_what_is_put_together_of_guessable_parts_is_refused(password: str) -> None:
    user = User(username="margarethe", last_name="Kowalski", email="m.kowalski@acme.example")

    with pytest.raises(ValidationError):
        validate_password(password, user)


@pytest.mark.parametrize("word", CONTEXT_WORDS)
def test_words_of_this_product_are_worth_nothing_in_a_password(word: str) -> None:
    with pytest.raises(ValidationError):
        validate_password(f"{word}-{word}-{word}1")


@pytest.mark.django_db
def test_a_guessable_password_is_refused_where_staff_change_theirs(
    client: Client, root: User
) -> None:
    client.force_login(root)
    form = {"old_password": PASSWORD, "new_password1": "Metergate2026!"}

    answer = client.post("/admin/password_change/", {**form, "new_password2": "Metergate2026!"})

    assert "made of a few common passwords" in answer.content.decode()
    root.refresh_from_db()
    assert root.check_password(PASSWORD)


@pytest.mark.django_db
def test_a_password_is_not_changed_without_the_current_one(client: Client, root: User) -> None:
    client.force_login(root)
    new = "four words without sense"

    client.post(
        "/admin/password_change/",
        {"old_password": "not-the-password", "new_password1": new, "new_password2": new},
    )

    root.refresh_from_db()
    assert root.check_password(PASSWORD)


@pytest.mark.django_db
def test_a_password_is_taken_exactly_as_it_is_typed(client: Client) -> None:
    typed = "  Blanks at both ends, and CaseS " + "x9kq" * 20 + "  "
    User.objects.create_superuser("exact", password=typed)

    def status(password: str) -> int:
        return client.post("/admin/login/", {"username": "exact", "password": password}).status_code

    assert [status(typed.strip()), status(typed.lower()), status(typed[:72])] == [200, 200, 200]
    assert status(typed) == 302


@pytest.mark.django_db
def test_a_browser_hides_a_password_and_may_fill_it_in(client: Client) -> None:
    page = client.get("/admin/login/").content.decode()
    [field] = [tag for tag in page.split("<") if tag.startswith("input") and '"password"' in tag]

    assert 'type="password"' in field
    assert 'autocomplete="current-password"' in field
    assert "onpaste" not in page


def test_a_password_is_kept_as_argon2id(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]

    kept = make_password("four words without sense")

    assert kept.startswith("argon2$argon2id$v=19$m=102400,t=2,p=8$")
    assert check_password("four words without sense", kept)


@given(st.text(max_size=200))
def test_no_text_makes_the_check_fail_otherwise_than_by_a_refusal(password: str) -> None:
    with suppress(ValidationError):
        validate_password(password, User(username="ana"))
