"""Refusals in the shape Stripe gives them."""

from typing import Any


class StripeFault(Exception):
    """An answer that is an error: `{"error": {"type", "code", "message", "param"}}`.

    `keep` says that what the request did before it failed stays done: an invoice
    that could not be paid has had its attempt.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type_: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        keep: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.keep = keep
        #: A fault on order that caused this. It is used up even where all else is undone.
        self.ordered: str | None = None
        error: dict[str, Any] = {"message": message, "type": type_}
        if code:
            error["code"] = code
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
        if param:
            error["param"] = param
        self.body: dict[str, Any] = {"error": error | more}

    @property
    def code(self) -> str | None:
        code: str | None = self.body["error"].get("code")
        return code


def invalid(message: str, *, code: str | None = None, param: str | None = None) -> StripeFault:
    """A 400 that names the parameter."""
    return StripeFault(message, code=code, param=param)


def missing(kind: str, id_: str, *, param: str = "id", status: int = 404) -> StripeFault:
    """`resource_missing`: 404 for the object in the path, 400 for one in the parameters."""
    noun = kind.rpartition(".")[2].replace("_", " ")
    return StripeFault(
        f"No such {noun}: '{id_}'", status=status, code="resource_missing", param=param
    )


def no_payment_method() -> StripeFault:
    """What Stripe says when it should charge a customer who left no way to."""
    return invalid(
        "This customer has no attached payment source or default payment method. "
        "Please consider adding a default payment method.",
        code="resource_missing",
    )


def card_error(
    code: str, message: str, *, decline_code: str | None = None, keep: bool = False
) -> StripeFault:
    """A 402: the card was asked and did not pay."""
    more = {"decline_code": decline_code} if decline_code else {}
    return StripeFault(message, status=402, type_="card_error", code=code, keep=keep, **more)
