"""Stripe's errors, mapped once to the contract's codes.

No text of Stripe's goes into a message or a log: it can quote a key or what a
customer typed. What helps is its type, code, parameter and request id.
"""

import stripe
import structlog

from config.contract.errors import ApiError, InternalError, Unavailable

logger = structlog.get_logger(__name__)

#: Codes and decline codes that mean: the customer has to be there.
_AUTHENTICATION = {"authentication_required", "subscription_payment_intent_requires_action"}


class CardDeclined(ApiError):
    """402: no card, a card that refused, or one that wants its owner.

    `details.reason` is `payment_method_required`, `card_declined` or
    `authentication_required`, the last with a `url` where one is known.
    """

    def __init__(self, reason: str, url: str | None = None) -> None:
        details = {"reason": reason} | ({"url": url} if url else {})
        super().__init__("PAYMENT_REQUIRED", "The payment was not possible", 402, details)
        self.reason = reason


class StripeFailed(ApiError):
    """502: Stripe answered with a server error. Under the same key it is kept for a day."""

    def __init__(self) -> None:
        super().__init__("STRIPE_ERROR", "The payment provider failed", 502)


class StripeRefused(ApiError):
    """502: Stripe took the request for wrong; a fault of ours, or of an unexpected state.

    `stripe_code` and `param` are Stripe's; they are for callers, not for answers.
    """

    def __init__(self, stripe_code: str | None = None, param: str | None = None) -> None:
        super().__init__("STRIPE_ERROR", "The payment provider refused the request", 502)
        self.stripe_code = stripe_code
        self.param = param


class StripeKeyRefused(InternalError):
    """500: Stripe refuses our API key, or what it may do. An outage of ours until it is mended.

    Nothing is wrong with what was asked: it is to wait, and to be asked again.
    """


class StripeNotFound(StripeRefused):
    """Stripe does not have the object (`resource_missing`); `param` says which one."""

    def __init__(self, param: str | None = None) -> None:
        super().__init__("resource_missing", param)


def translated(error: stripe.StripeError, operation: str) -> ApiError:
    """Return what the contract says for an error of Stripe's, and log what happened."""
    code = error.code or getattr(error.error, "code", None)
    param = getattr(error, "param", None)
    facts = {
        "operation": operation,
        "stripe_request_id": error.request_id,
        "http_status": error.http_status,
        "error_type": type(error).__name__,
        "error_code": code,
        "param": param,
    }
    found = _mapped(error, code, param)
    if isinstance(found, CardDeclined):
        # The customer's bank said no: nothing is wrong with us.
        logger.info("stripe_payment_refused", reason=found.reason, **facts)
    elif isinstance(found, StripeNotFound | Unavailable):
        logger.warning("stripe_call_failed", **facts)
    else:
        logger.error("stripe_call_failed", **facts)
    return found


def _mapped(error: stripe.StripeError, code: str | None, param: str | None) -> ApiError:
    if isinstance(error, stripe.CardError):
        decline = getattr(error.error, "decline_code", None)
        wanted = {code, decline} & _AUTHENTICATION
        return CardDeclined("authentication_required" if wanted else "card_declined")
    if isinstance(error, stripe.APIConnectionError) or error.http_status is None:
        return Unavailable("The payment provider does not answer", retry_after=2)
    if isinstance(error, stripe.RateLimitError) or error.http_status in {409, 429}:
        return Unavailable("The payment provider is busy", retry_after=_retry_after(error))
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        return StripeKeyRefused()
    if error.http_status >= 500:
        return StripeFailed()
    if code == "resource_missing":
        # A 400 that names no parameter: what is missing is a card to charge.
        if param is None and error.http_status == 400:
            return CardDeclined("payment_method_required")
        return StripeNotFound(param)
    return StripeRefused(code, param)


def _retry_after(error: stripe.StripeError) -> int:
    asked = (error.headers or {}).get("retry-after", "")
    return min(int(asked), 60) if asked.isdigit() else 1
