"""Asking the doctor, and putting wrong at Stripe what it is to name."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

from django.core.management import call_command

from billing import doctor
from billing.stripe_gateway.transport import API_VERSION
from config.contract.clients import clients

URL = "http://127.0.0.1:8000/api/webhooks/stripe"


def run(*options: str) -> tuple[int, str]:
    """Run the command; return its exit status and what it said."""
    out = StringIO()
    try:
        call_command("stripe_doctor", *options, stdout=out)
    except SystemExit as ended:
        return int(str(ended.code)), out.getvalue()
    return 0, out.getvalue()


def faults() -> dict[str, str]:
    """Return what is wrong, by name."""
    return {one.what: one.detail for one in doctor.examine() if not one.ok}


@contextmanager
def changed(model: Any, find: dict[str, Any], **values: Any) -> Iterator[None]:
    """Change rows that every test relies on, and put them back."""
    before = {row.pk: {n: getattr(row, n) for n in values} for row in model.objects.filter(**find)}
    model.objects.filter(**find).update(**values)
    try:
        yield
    finally:
        for pk, kept in before.items():
            model.objects.filter(pk=pk).update(**kept)


def at_stripe(verb: str, *arguments: Any) -> Any:
    """Do something that the product itself never does, such as staff on the Dashboard might."""

    def send(client: Any) -> Any:
        found = client.v1
        for name in verb.split("."):
            found = getattr(found, name)
        return found(*arguments)

    return clients.stripe._call(verb, send)


def endpoint(**more: Any) -> None:
    """Make a webhook endpoint of ours."""
    asked = {"url": URL, "enabled_events": ["*"], "api_version": API_VERSION, **more}
    at_stripe("webhook_endpoints.create", asked)


def new_price(lookup_key: str, amount: str, **more: Any) -> str:
    """Make a price that takes the lookup key over; return its id."""
    made = clients.stripe.create_price(
        product_id="prod_pro",
        lookup_key=lookup_key,
        amount=amount,
        currency="usd",
        interval="month",
        idempotency_key=f"price:{lookup_key}",
        **more,
    )
    id_: str = made["id"]
    return id_
