"""A card that a SetupIntent collected becomes the one that is charged.

Stripe charges a subscription's own card before its customer's default, and gives it
one where Checkout made it or its owner paid an invoice's page. So the new card is made
the customer's default, and takes the place of an older one that a subscription has.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from billing.models import Subscription
from billing.stripe_gateway import Gateway, StripeNotFound, StripeRefused
from config.contract.clients import clients


@dataclass(frozen=True, slots=True)
class NewCard:
    """A card that is to become its customer's default.

    `overriding` are the subscriptions that would go on charging an older one, and
    `schedules` those that manage them.
    """

    setup_intent_id: str
    customer_id: str
    payment_method_id: str
    overriding: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()


def collected_by(setup_intent_id: str) -> NewCard | None:
    """Return the card that is to become the default; None where there is nothing to do.

    There is nothing to do where the SetupIntent did not succeed, where its card
    is what is charged already or was taken away, and where the default is a card
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
        subscriptions = gateway.list_subscriptions(customer_id=customer_id)
    if card_id not in made_at:
        return None
    if default_id in made_at and made_at[default_id] > made_at[card_id]:
        return None
    overriding = [
        subscription
        for subscription in subscriptions
        if subscription["status"] not in Subscription.TERMINAL
        and _has_older_card(subscription, card_id, made_at=made_at)
    ]
    if card_id == default_id and not overriding:
        return None
    return NewCard(
        setup_intent_id,
        customer_id,
        card_id,
        overriding=tuple(str(subscription["id"]) for subscription in overriding),
        schedules=tuple(str(s["schedule"]) for s in overriding if s.get("schedule")),
    )


def use(card: NewCard, *, key_generation: int = 0) -> None:
    """Have it charged at Stripe from now on. No transaction open.

    The keys are made of the SetupIntent, not of the event: however often it is told,
    and by whichever event, the card is set once. Stripe keeps a 500 under its key for
    a day: after one the caller counts `key_generation` up, having looked again.
    """
    gateway: Gateway = clients.stripe
    key = f"default-card:{card.setup_intent_id}:{key_generation}"
    gateway.set_default_payment_method(
        customer_id=card.customer_id,
        payment_method_id=card.payment_method_id,
        idempotency_key=key,
    )
    # Before the subscriptions: an older card of theirs is what a repeat goes by.
    for schedule_id in card.schedules:
        # One that is over by now has nothing more to charge.
        with suppress(StripeRefused):
            gateway.set_schedule_card(
                schedule_id=schedule_id,
                payment_method_id=card.payment_method_id,
                idempotency_key=f"{key}:{schedule_id}",
            )
    for subscription_id in card.overriding:
        gateway.set_subscription_card(
            subscription_id=subscription_id,
            payment_method_id=card.payment_method_id,
            idempotency_key=f"{key}:{subscription_id}",
        )


def _has_older_card(subscription: dict[str, Any], card_id: str, *, made_at: dict[str, int]) -> bool:
    """Tell whether it has a card of its own that came before this one, or is gone."""
    own = subscription.get("default_payment_method")
    return own not in (None, card_id) and made_at.get(str(own), 0) <= made_at[card_id]
