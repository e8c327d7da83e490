"""Checks parameters against the typed parameters of the installed `stripe` package.

Nothing is copied: the tables are read from `stripe.params.*` when an operation is
first used, so an upgrade of the package is an upgrade of what is refused. Of an
open enumeration (`Literal[...] | str`) only the listed values pass, as at Stripe.
"""

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib import import_module
from types import UnionType
from typing import (
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from typing_extensions import is_typeddict

from billing.sandbox.errors import StripeFault, invalid
from billing.sandbox.forms import Tree

_INTEGER = re.compile(r"^[+-]?\d{1,18}$")
#: Accepted once, refused since 2026-10-28.endive with a code of its own.
_REMOVED = "payment_method_types"


@cache
def typed_params(module: str, name: str) -> type:
    """Return a TypedDict of `stripe.params`, e.g. `_customer_create_params`."""
    found: type = getattr(import_module(f"stripe.params.{module}"), name)
    return found


@cache
def fields_of(typed: type) -> dict[str, tuple[Any, bool]]:
    """Return annotation and 'required' of each parameter; request options are not any."""
    options = import_module("stripe._request_options").RequestOptions.__annotations__
    # Some parameters inherit the request options, whose types exist for type checkers only.
    own = {name: hint for name, hint in typed.__annotations__.items() if name not in options}
    bare = type("Own", (), {"__annotations__": own, "__module__": typed.__module__})
    hints = get_type_hints(bare, include_extras=True)
    found = {}
    for name, hint in hints.items():
        required = get_origin(hint) is not NotRequired
        if get_origin(hint) in (NotRequired, Required):
            hint = get_args(hint)[0]
        found[name] = (hint, required)
    return found


def checked(tree: Tree, typed: type, *, path: str = "") -> dict[str, Any]:
    """Return the parameters with their real types. Raises StripeFault for the first bad one."""
    known = fields_of(typed)
    for name in tree:
        if name not in known:
            raise _unknown(_join(path, name))
    for name, (_hint, required) in known.items():
        if required and name not in tree:
            where = _join(path, name)
            raise invalid(
                f"Missing required param: {where}.", code="parameter_missing", param=where
            )
    return {name: _value(tree[name], known[name][0], _join(path, name)) for name in tree}


def _join(path: str, name: str) -> str:
    return f"{path}[{name}]" if path else name


def _unknown(param: str) -> StripeFault:
    if param == _REMOVED:
        return invalid(
            "payment_method_types is no longer supported; use allowed_payment_method_types.",
            code="payment_method_types_no_longer_supported",
            param=param,
        )
    return invalid(f"Received unknown parameter: {param}", code="parameter_unknown", param=param)


def _value(value: Any, hint: Any, path: str) -> Any:
    members = _members(hint)
    choices = [choice for m in members if get_origin(m) is Literal for choice in get_args(m)]
    if isinstance(value, str) and value in choices:
        return value
    for member in members:
        if isinstance(value, dict) and is_typeddict(member):
            return checked(value, member, path=path)
        if isinstance(value, dict) and _is_mapping(member):
            return _texts(value, path)
        if get_origin(member) is list and isinstance(value, list):
            [inner] = get_args(member)
            return [_value(v, inner, f"{path}[{i}]") for i, v in enumerate(value)]
    if not isinstance(value, str):
        raise invalid(f"Invalid string: {path}", code="parameter_invalid_string", param=path)
    return _scalar(value, members, choices, path)


def _scalar(value: str, members: list[Any], choices: list[str], path: str) -> Any:
    named = [choice for choice in choices if choice]
    for kind, parse in _PARSERS.items():
        if kind in members:
            parsed = parse(value)
            if parsed is not None:
                return parsed
    if str in members and not named:
        if not value and "" not in choices:
            raise invalid(
                f"You passed an empty string for '{path}'.",
                code="parameter_invalid_empty",
                param=path,
            )
        return value
    if named:
        raise invalid(f"Invalid {path}: must be one of {', '.join(named)}", param=path)
    for kind, noun in ((int, "integer"), (bool, "boolean"), (float, "number")):
        if kind in members:
            raise invalid(
                f"Invalid {noun}: {value[:50]}", code=f"parameter_invalid_{noun}", param=path
            )
    if Decimal in members:
        raise invalid("Invalid decimal", code="parameter_invalid_decimal", param=path)
    if any(get_origin(m) is list for m in members):
        if not value:
            return []
        raise invalid("Invalid array", param=path)
    raise invalid("Invalid object", param=path)


def _members(hint: Any) -> list[Any]:
    if get_origin(hint) in (Union, UnionType):
        return [inner for arg in get_args(hint) for inner in _members(arg)]
    return [hint]


def _is_mapping(member: Any) -> bool:
    return (
        get_origin(member) is dict
        or getattr(get_origin(member), "__name__", "") == "UntypedStripeObject"
    )


def _texts(value: dict[str, Any], path: str) -> dict[str, str]:
    for name, text in value.items():
        if not isinstance(text, str):
            raise invalid("Metadata values must be strings", param=_join(path, name))
    return dict(value)


def _int(value: str) -> int | None:
    return int(value) if _INTEGER.match(value) else None


def _bool(value: str) -> bool | None:
    return {"true": True, "false": False}.get(value)


def _float(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _decimal(value: str) -> Decimal | None:
    try:
        found = Decimal(value)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


_PARSERS: dict[type, Callable[[str], Any]] = {
    bool: _bool,
    int: _int,
    Decimal: _decimal,
    float: _float,
}
