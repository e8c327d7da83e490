"""The only room that imports `stripe`: one typed door to Stripe's API.

Every method is keyword-only, takes an explicit idempotency key where it writes,
and answers with Stripe's JSON as plain dictionaries (`Json`). Errors come as
`ApiError`s of the contract. Nothing happens at import: `get_gateway()` builds
the gateway from the settings when it is first asked for.
"""

from billing.stripe_gateway.catalogue import MeterKey
from billing.stripe_gateway.errors import (
    CardDeclined,
    StripeFailed,
    StripeKeyRefused,
    StripeNotFound,
    StripeRefused,
)
from billing.stripe_gateway.gateway import StripeGateway
from billing.stripe_gateway.phases import ItemChange, is_metered
from billing.stripe_gateway.protocol import Gateway
from billing.stripe_gateway.registry import forget_gateway, get_gateway, use_as_worker
from billing.stripe_gateway.signatures import verify_signature
from billing.stripe_gateway.transport import API_VERSION, Json

__all__ = [
    "API_VERSION",
    "CardDeclined",
    "Gateway",
    "ItemChange",
    "Json",
    "MeterKey",
    "StripeFailed",
    "StripeGateway",
    "StripeKeyRefused",
    "StripeNotFound",
    "StripeRefused",
    "forget_gateway",
    "get_gateway",
    "is_metered",
    "use_as_worker",
    "verify_signature",
]
