"""Whether a webhook is Stripe's: its signature over the raw body."""

import time
from collections.abc import Iterable

import stripe

#: Seconds that a signature may be old, or ahead of our clock.
TOLERANCE = 300


def verify_signature(body: bytes, header: str, secrets: Iterable[str]) -> bool:
    """Return whether any of the secrets signed this body within the last five minutes.

    The library reads bytes that are not UTF-8 as an error of its own, and has no
    bound for timestamps in the future; both are refused here.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    # Signatures are hexadecimal; the library fails on comparing anything but ASCII.
    if not header.isascii() or not _is_near(header):
        return False
    for secret in secrets:
        try:
            stripe.WebhookSignature.verify_header(text, header, secret, TOLERANCE)
        except stripe.SignatureVerificationError:
            continue
        return True
    return False


def _is_near(header: str) -> bool:
    stamps = [part[2:] for part in header.split(",") if part.startswith("t=")]
    if len(stamps) != 1 or not (stamps[0].isascii() and stamps[0].isdigit()):
        return False
    return abs(int(stamps[0][:15]) - time.time()) <= TOLERANCE
