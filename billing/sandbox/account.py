"""The account that the key is of."""

from typing import Any

from billing.sandbox.shapes import Obj
from billing.sandbox.store import Store

ACCOUNT_ID = "acct_sandbox"


def retrieve(_store: Store, _params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """GET /v1/account."""
    return {
        "id": ACCOUNT_ID,
        "object": "account",
        "business_profile": None,
        "business_type": None,
        "charges_enabled": True,
        "country": "US",
        "default_currency": "usd",
        "details_submitted": True,
        "email": None,
        "payouts_enabled": True,
        "settings": None,
        "type": "standard",
    }
