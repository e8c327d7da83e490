"""What a person is told where a program would be told a code."""

from dataclasses import dataclass

from config.contract.errors import ApiError


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, and what can be done about it.

    `again`: the very same request may do better. `card`: another payment method
    may. `url`: where the customer's bank asks them to confirm.
    """

    title: str
    text: str
    again: bool = False
    card: bool = False
    url: str | None = None


_BY_CODE = {
    "VISIT_OVER": Problem(
        "Your visit is over",
        "A visit lasts 30 minutes. Ask for a new link where you got the last one.",
    ),
    "LINK_GONE": Problem(
        "This link is no longer valid",
        "A link works once, within 15 minutes. Ask for a new one where you got it.",
    ),
    "PREVIEW_STALE": Problem(
        "The price has changed",
        "What was shown before no longer holds. This is what it costs now; nothing was charged.",
    ),
    "PLAN_CHANGE_IN_PROGRESS": Problem(
        "A change is being made",
        "Another change of your plan is not finished yet. Try again in a moment.",
        again=True,
    ),
    "IDEMPOTENCY_IN_PROGRESS": Problem(
        "Your change is being made",
        "It takes longer than usual. Look again in a moment: it is made once, however often you"
        " ask.",
        again=True,
    ),
    "UNAVAILABLE": Problem(
        "That did not get through",
        "We could not reach the payment provider, or are busy. Try again in a moment:"
        " nothing happens twice.",
        again=True,
    ),
    "STRIPE_ERROR": Problem(
        "The payment provider could not do this",
        "Try again in a moment: nothing happens twice. If it stays like this, tell us.",
        again=True,
    ),
    "VALIDATION_ERROR": Problem(
        "This form cannot be used", "It is not as this page made it. Go back, reload, try again."
    ),
    "NOT_FOUND": Problem("Not found", "There is nothing here. It may have been there before."),
    "METHOD_NOT_ALLOWED": Problem("Not found", "This page is not asked for like that."),
    "INTERNAL": Problem(
        "Something went wrong on our side", "It has been noted. Try again in a moment.", again=True
    ),
}

_BY_REASON = {
    "payment_method_required": Problem(
        "There is no payment method yet",
        "Add one, then try again. Your plan has not changed and nothing was charged.",
        card=True,
    ),
    "card_declined": Problem(
        "The payment was declined",
        "Your bank refused it. Your plan has not changed and nothing was charged."
        " Use another payment method, then try again.",
        card=True,
    ),
    "authentication_required": Problem(
        "Your bank wants you to confirm",
        "Confirm your payment method with your bank, then try again. Your plan has not changed"
        " and nothing was charged.",
        card=True,
    ),
}


def explained(error: ApiError) -> Problem:
    """Return what a person is told of a refusal."""
    if error.status == 402:
        details = error.details or {}
        found = _BY_REASON.get(str(details.get("reason")), _BY_REASON["card_declined"])
        return Problem(found.title, found.text, card=True, url=details.get("url"))
    known = _BY_CODE.get(error.code)
    if known is not None:
        return known
    return Problem("That is not possible", error.message)
