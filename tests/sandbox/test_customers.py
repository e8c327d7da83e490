"""Customers, keys and refusals, over the wire and through the gateway."""

import pytest
import stripe
from django.conf import settings

from billing.stripe_gateway import StripeGateway, StripeNotFound
from tests.sandbox.server import Control


@pytest.fixture
def client(sandbox: Control) -> stripe.StripeClient:
    """Stripe's own client, pointed at the sandbox."""
    base = sandbox.url
    return stripe.StripeClient(
        settings.STRIPE_API_KEY,
        base_addresses={"api": base, "files": base, "connect": base, "meter_events": base},
    )


def test_one_customer_per_organisation(gateway: StripeGateway) -> None:
    first = gateway.ensure_customer(
        org_id="org_1", email="a@example.com", name="A", idempotency_key="one"
    )
    again = gateway.ensure_customer(
        org_id="org_1", email="a@example.com", name="B", idempotency_key="two"
    )
    other = gateway.ensure_customer(
        org_id="org_2", email="a@example.com", name="A", idempotency_key="three"
    )

    assert first == again != other
    assert gateway.retrieve_customer(customer_id=first)["name"] == "B"


def test_a_known_customer_takes_a_new_address(gateway: StripeGateway) -> None:
    made = {"org_id": "org_1", "name": "A"}
    first = gateway.ensure_customer(**made, email="a@example.com", idempotency_key="one")

    again = gateway.ensure_customer(
        **made, email="b@example.com", idempotency_key="two", customer_id=first
    )

    assert first == again
    assert gateway.retrieve_customer(customer_id=first)["email"] == "b@example.com"


def test_customers_get_a_working_card(sandbox: Control, gateway: StripeGateway) -> None:
    with_card = gateway.ensure_customer(
        org_id="org_1", email="a@example.com", name="A", idempotency_key="one"
    )
    sandbox.settings(auto_card=False)
    without = gateway.ensure_customer(
        org_id="org_2", email="a@example.com", name="A", idempotency_key="two"
    )

    [card] = gateway.list_payment_methods(customer_id=with_card)
    assert card["card"]["last4"] == "4242"
    assert gateway.list_payment_methods(customer_id=without) == []


def test_metadata_is_merged_and_a_deleted_customer_leaves_a_tombstone(
    client: stripe.StripeClient,
) -> None:
    made = client.v1.customers.create({"metadata": {"a": "1", "b": "2"}})

    changed = client.v1.customers.update(made.id, {"metadata": {"b": "", "c": "3"}})
    client.v1.customers.delete(made.id)

    assert changed.metadata is not None
    assert changed.metadata.to_dict() == {"a": "1", "c": "3"}
    assert client.v1.customers.retrieve(made.id).deleted is True
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.customers.update(made.id, {"name": "x"})
    assert refused.value.code == "resource_missing"


def test_a_key_answers_once_and_refuses_other_parameters(client: stripe.StripeClient) -> None:
    first = client.v1.customers.create({"name": "A"}, {"idempotency_key": "customer-a"})
    again = client.v1.customers.create({"name": "A"}, {"idempotency_key": "customer-a"})

    assert again.id == first.id
    assert again.last_response is not None
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    with pytest.raises(stripe.IdempotencyError):
        client.v1.customers.create({"name": "B"}, {"idempotency_key": "customer-a"})


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"nmae": "A"}, "parameter_unknown", "nmae"),
        ({"balance": "many"}, "parameter_invalid_integer", "balance"),
        ({"address": {"street": "x"}}, "parameter_unknown", "address[street]"),
        ({"tax_exempt": "sometimes"}, None, "tax_exempt"),
        (
            {"invoice_settings": {"default_payment_method": "pm_none"}},
            "resource_missing",
            "invoice_settings[default_payment_method]",
        ),
        ({"source": "tok_visa"}, "sandbox_unsupported", "source"),
        (
            {"invoice_settings": {"rendering_options": {"template": "x"}}},
            "sandbox_unsupported",
            "invoice_settings[rendering_options]",
        ),
    ],
)
def test_bad_parameters_are_refused_by_name(
    client: stripe.StripeClient, params: dict[str, object], code: str | None, param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.customers.create(params)  # type: ignore[arg-type]

    assert (refused.value.code, refused.value.param) == (code, param)


def test_a_missing_parameter_is_named(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.customers.search({})  # type: ignore[typeddict-item]

    assert (refused.value.code, refused.value.param) == ("parameter_missing", "query")


def test_parameters_removed_in_endive_are_refused_with_their_own_code(
    client: stripe.StripeClient,
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.setup_intents.create(
            {"payment_method_types": ["card"]}  # type: ignore[arg-type]
        )

    assert refused.value.code == "payment_method_types_no_longer_supported"


def test_a_wrong_key_is_401(sandbox: Control) -> None:
    stranger = stripe.StripeClient("sk_test_wrong", base_addresses={"api": sandbox.url})

    with pytest.raises(stripe.AuthenticationError):
        stranger.v1.customers.list()


def test_lists_are_paged_by_cursors(client: stripe.StripeClient) -> None:
    made = [client.v1.customers.create({"name": str(n)}).id for n in range(5)]

    newest = client.v1.customers.list({"limit": 2})
    older = client.v1.customers.list({"limit": 2, "starting_after": newest.data[-1].id})
    newer = client.v1.customers.list({"limit": 2, "ending_before": older.data[0].id})

    assert [c.id for c in newest.data] == [made[4], made[3]]
    assert [c.id for c in older.data] == [made[2], made[1]]
    assert [c.id for c in newer.data] == [made[4], made[3]]
    assert [page.has_more for page in (newest, older, newer)] == [True, True, False]
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.customers.list({"limit": 101})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.customers.list({"starting_after": "cus_none"})
    assert (refused.value.code, refused.value.http_status) == ("resource_missing", 400)


def test_the_gateway_says_what_is_not_there(gateway: StripeGateway) -> None:
    with pytest.raises(StripeNotFound):
        gateway.retrieve_subscription(subscription_id="sub_none")
