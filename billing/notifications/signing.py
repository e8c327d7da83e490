"""Signatures as Standard Webhooks has them (standardwebhooks.com, version 1).

The secret is derived from its id under a key of the server's, so that it can sign
for ever without being stored: a stolen table signs nothing.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime

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

    `at` is when it is made: a receiver refuses what is far from its own clock.
    """
    timestamp = str(int(at.timestamp()))
    content = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_signature(secret, content) for secret in secrets),
    }


def _signature(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    mac = hmac.new(key, content, hashlib.sha256).digest()
    return "v1," + base64.b64encode(mac).decode("ascii")
