"""Coupons and promotion codes: what can be redeemed, and how often it was."""

from typing import Any

from billing.sandbox.customers import merged
from billing.sandbox.errors import StripeFault, invalid, missing
from billing.sandbox.shapes import Obj, new, random_text
from billing.sandbox.store import Store

_COUPON = (
    "amount_off",
    "applies_to",
    "currency",
    "duration",
    "duration_in_months",
    "max_redemptions",
    "name",
    "percent_off",
    "redeem_by",
)
_PROMOTION = ("active", "customer", "expires_at", "max_redemptions")


def create_coupon(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """POST /v1/coupons: an amount or a percentage off, for as long as `duration` says."""
    if ("amount_off" in params) == ("percent_off" in params):
        raise invalid("Pass exactly one of amount_off and percent_off.", param="percent_off")
    if "amount_off" in params and "currency" not in params:
        raise invalid("You must pass currency when passing amount_off", param="currency")
    if "amount_off" in params and params["amount_off"] <= 0:
        raise invalid("Invalid positive integer", param="amount_off")
    if "percent_off" in params and not 0 < params["percent_off"] <= 100:
        raise invalid("Coupon percent_off must be between 0 and 100", param="percent_off")
    if (params.get("duration") == "repeating") != (params.get("duration_in_months", 0) > 0):
        raise invalid(
            "duration_in_months goes with a repeating coupon, and only with one.",
            param="duration_in_months",
        )
    id_ = params.get("id") or random_text(8)
    if store.find(id_) is not None:
        raise invalid("Coupon already exists.", code="resource_already_exists", param="id")
    coupon = new(
        "coupon",
        id=id_,
        created=store.at,
        metadata=merged({}, params.get("metadata")),
        **{name: params[name] for name in _COUPON if name in params},
    )
    return store.put(coupon, "coupon.created")


def update_coupon(store: Store, params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/coupons/{id}: name and metadata; what it takes off never changes."""
    coupon = store.get("coupon", ids["id"])
    if "name" in params:
        coupon["name"] = params["name"]
    if "metadata" in params:
        coupon["metadata"] = merged(coupon["metadata"], params["metadata"])
    return store.put(coupon, "coupon.updated")


def retrieve_coupon(store: Store, _params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """GET /v1/coupons/{id}."""
    return _valid_now(store, store.get("coupon", ids["id"]))


def list_coupons(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """GET /v1/coupons."""
    listed = store.listing("coupon", params, "/v1/coupons")
    listed["data"] = [_valid_now(store, coupon) for coupon in listed["data"]]
    return listed


def delete_coupon(store: Store, _params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """DELETE /v1/coupons/{id}: discounts already made of it go on."""
    coupon = store.get("coupon", ids["id"])
    store.emit("coupon.deleted", coupon)
    store.delete(coupon["id"])
    return {"id": coupon["id"], "object": "coupon", "deleted": True}


def create_promotion_code(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """POST /v1/promotion_codes: a code that customers type, for a coupon."""
    promotion = params["promotion"]
    if "coupon" not in promotion:
        raise invalid(
            "Missing required param: promotion[coupon].",
            code="parameter_missing",
            param="promotion[coupon]",
        )
    coupon = store.get("coupon", promotion["coupon"], param="promotion[coupon]")
    if "customer" in params:
        store.customer(params["customer"])
    code = params.get("code") or random_text(8).upper()
    running = store.all("promotion_code", where={"active": True})
    if any(
        other["code"].lower() == code.lower()
        and other["customer"] in {None, params.get("customer")}
        for other in running
    ):
        raise invalid(f"An active promotion code with `code: {code}` already exists.", param="code")
    made = new(
        "promotion_code",
        created=store.at,
        code=code,
        promotion={"type": "coupon", "coupon": coupon["id"]},
        metadata=merged({}, params.get("metadata")),
        **{name: params[name] for name in _PROMOTION if name in params},
    )
    return store.put(made, "promotion_code.created")


def update_promotion_code(store: Store, params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/promotion_codes/{id}: whether it is active, and metadata."""
    promotion = store.get("promotion_code", ids["id"])
    if "active" in params:
        promotion["active"] = params["active"]
    if "metadata" in params:
        promotion["metadata"] = merged(promotion["metadata"], params["metadata"])
    return store.put(promotion, "promotion_code.updated")


def list_promotion_codes(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """GET /v1/promotion_codes by code, coupon, customer, activity."""
    where: Obj = {name: params[name] for name in ("active", "customer", "code") if name in params}
    if "coupon" in params:
        where["promotion"] = {"coupon": params["coupon"]}
    return store.listing("promotion_code", params, "/v1/promotion_codes", where=where)


def redeemable(store: Store, source: Obj, *, customer: str, path: str) -> tuple[Obj, Obj | None]:
    """Return the coupon that `{coupon}` or `{promotion_code}` names, and the promotion code.

    Raises StripeFault, naming the parameter, where it cannot be redeemed any more.
    """
    promotion = None
    if "promotion_code" in source:
        param = f"{path}[promotion_code]"
        promotion = store.get("promotion_code", source["promotion_code"], param=param)
        if not _open(promotion, store.at) or promotion["customer"] not in {None, customer}:
            raise _refused("This promotion code cannot be redeemed.", param)
        coupon = store.find(promotion["promotion"]["coupon"])
        if coupon is None:
            raise missing("coupon", promotion["promotion"]["coupon"], param=param, status=400)
    else:
        param = f"{path}[coupon]"
        coupon = store.get("coupon", source["coupon"], param=param)
    if not _valid_now(store, coupon)["valid"]:
        raise _refused(f"Coupon expired: {coupon['id']}", param)
    return coupon, promotion


def count_redemption(store: Store, coupon_id: str, promotion_id: str | None) -> None:
    """Note that a discount was made of a coupon (and a promotion code)."""
    for id_ in (coupon_id, promotion_id):
        used = store.find(id_) if id_ else None
        if used is not None:
            used["times_redeemed"] += 1
            store.put(used, f"{used['object']}.updated")


def _open(promotion: Obj, at: int) -> bool:
    return bool(
        promotion["active"]
        and (promotion["expires_at"] is None or at < promotion["expires_at"])
        and _left(promotion)
    )


def _left(source: Obj) -> bool:
    most = source["max_redemptions"]
    return most is None or source["times_redeemed"] < most


def _valid_now(store: Store, coupon: Obj) -> Obj:
    valid = _left(coupon) and (coupon["redeem_by"] is None or store.at <= coupon["redeem_by"])
    return {**coupon, "valid": valid}


def _refused(message: str, param: str) -> StripeFault:
    return invalid(message, code="coupon_expired", param=param)
