"""Signatures as Standard Webhooks has them (standardwebhooks.com, version 1).

The secret is derived from its id under a key of the server's, so that it can sign
for ever without being stored: a stolen table signs nothing.
"""

import base64
from collections.abc import Iterable
from datetime import datetime

from standardwebhooks import Webhook

from tokens.secrets import derived_key

_PREFIX = "whsec_"


def secret_of(secret_id: object) -> str:
    """Return the secret that an id stands for, as its receiver configures it."""
    key = derived_key(b"webhook-secret", str(secret_id))
    return _PREFIX + base64.b64encode(key).decode("ascii")


def headers(
    *, message_id: str, at: datetime, body: bytes, secrets: Iterable[str]
) -> dict[str, str]:
    """Return the headers of one attempt, signed with each of the secrets.

    `at`, in UTC, is when it is made: a receiver refuses what is far from its own clock.
    """
    signatures = (Webhook(secret).sign(message_id, at, body.decode()) for secret in secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
