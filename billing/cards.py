"""A card that a SetupIntent collected becomes the one that is charged."""

from dataclasses import dataclass

from billing.stripe_gateway import Gateway, StripeNotFound
from config.contract.clients import clients


@dataclass(frozen=True, slots=True)
class NewCard:
    """A card that is to become its customer's default."""

    setup_intent_id: str
    customer_id: str
    payment_method_id: str


def collected_by(setup_intent_id: str) -> NewCard | None:
    """Return the card that is to become the default; None where there is nothing to do.

    There is nothing to do where the SetupIntent did not succeed, where its card
    is the default already or was taken away, and where the default is a card
    that came later: an old SetupIntent's late word must not bring an old card back.
    """
    gateway: Gateway = clients.stripe
    with gateway.session():
        try:
            intent = gateway.retrieve_setup_intent(setup_intent_id=setup_intent_id)
        except StripeNotFound:
            return None
        card_id, customer_id = intent["payment_method"], intent["customer"]
        if intent["status"] != "succeeded" or not card_id or not customer_id:
            return None
        customer = gateway.retrieve_customer(customer_id=customer_id)
        if customer.get("deleted"):
            return None
        default_id = customer["invoice_settings"]["default_payment_method"]
        made_at = {
            card["id"]: card["created"]
            for card in gateway.list_payment_methods(customer_id=customer_id)
        }
    if card_id == default_id or card_id not in made_at:
        return None
    if default_id in made_at and made_at[default_id] > made_at[card_id]:
        return None
    return NewCard(setup_intent_id, customer_id, card_id)


def use(card: NewCard, *, key_generation: int = 0) -> None:
    """Make it the default at Stripe. No transaction open.

    The key is made of the SetupIntent, not of the event: however often it is told,
    and by whichever event, the card is set once. Stripe keeps a 500 under its key for
    a day: after one the caller counts `key_generation` up, having looked again.
    """
    gateway: Gateway = clients.stripe
    gateway.set_default_payment_method(
        customer_id=card.customer_id,
        payment_method_id=card.payment_method_id,
        idempotency_key=f"default-card:{card.setup_intent_id}:{key_generation}",
    )
