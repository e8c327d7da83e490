"""What the application's role can never do, whoever runs code with it."""

import pytest
from django.db import ProgrammingError, connection, transaction

from config.contract import clock

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE django_admin_log SET change_message = ''",
        "DELETE FROM django_admin_log",
        "TRUNCATE django_admin_log",
        "INSERT INTO django_migrations (app, name, applied) VALUES ('a', 'b', now())",
        "UPDATE django_migrations SET name = 'x'",
        "DELETE FROM django_migrations",
        "INSERT INTO contract_installation (id, copy_epoch, clock_offset_seconds) VALUES (1, 1, 0)",
        "DELETE FROM contract_installation",
        "UPDATE contract_installation SET id = 1",
        "UPDATE webhooks_webhookevent SET payload = '{}'",
        "UPDATE webhooks_webhookevent SET event_id = '', type = ''",
        "DELETE FROM webhooks_webhookevent",
        "TRUNCATE webhooks_webhookevent",
    ],
)
def test_the_application_may_not(statement: str) -> None:
    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


def test_the_application_moves_the_clock_and_the_epoch() -> None:
    clock.set_offset(60.0)

    assert clock.offset_seconds() == 60.0
    with connection.cursor() as cursor:
        cursor.execute("UPDATE contract_installation SET copy_epoch = copy_epoch + 1 WHERE id = 1")
        assert cursor.rowcount == 1
