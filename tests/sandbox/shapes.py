"""Checks an object against the annotations of the installed `stripe` resource classes."""

from collections.abc import Iterator
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, ForwardRef, Literal, Union, get_args, get_origin

import stripe
from stripe._object_classes import get_object_class

#: Lists of lines and items are shaped like any list; their members are checked one by one.
_LISTS = ("ListObject", "SearchResultObject")


def faults_of(obj: dict[str, Any]) -> list[str]:
    """Return what is wrong with an object, by path: strange, missing, null or mistyped fields."""
    kind = obj.get("object", "?")
    cls = get_object_class("V1", kind)
    if cls is stripe.StripeObject:
        return [f"{kind}: no such object"]
    if obj.get("deleted") is True:
        return []
    return list(_against_class(obj, cls, kind))


def _annotations(cls: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("stripe") and base.__name__ != "StripeObject":
            found |= base.__dict__.get("__annotations__", {})
    return {
        name: hint
        for name, hint in found.items()
        if not name.startswith("_") and "ClassVar" not in str(hint) and name != "OBJECT_NAME"
    }


def _members(hint: Any) -> list[Any]:
    if get_origin(hint) in (Union, UnionType):
        return [inner for arg in get_args(hint) for inner in _members(arg)]
    return [hint]


def _against_class(obj: dict[str, Any], cls: type, path: str) -> Iterator[str]:
    known = _annotations(cls)
    for name in obj.keys() - known.keys():
        yield f"{path}.{name}: unknown"
    for name, hint in known.items():
        optional = NoneType in _members(hint)
        # The package says Optional of whatever may be null or absent.
        if name not in obj:
            if not optional:
                yield f"{path}.{name}: missing"
        elif obj[name] is None:
            if not optional:
                yield f"{path}.{name}: null"
        else:
            yield from _against(obj[name], hint, f"{path}.{name}")


def _against(value: Any, hint: Any, path: str) -> Iterator[str]:
    members = [member for member in _members(hint) if member is not NoneType]
    if isinstance(value, dict):
        yield from _dict(value, members, path)
    elif isinstance(value, list):
        inner = [get_args(m)[0] for m in members if get_origin(m) is list]
        if not inner:
            yield f"{path}: a list"
        for number, one in enumerate(value):
            yield from _against(one, inner[0], f"{path}[{number}]") if inner else ()
    else:
        yield from _scalar(value, members, path)


def _dict(value: dict[str, Any], members: list[Any], path: str) -> Iterator[str]:
    if value.get("object") == "list":
        if not any(get_origin(m).__name__ in _LISTS for m in members if get_origin(m)):
            yield f"{path}: a list object"
        for number, one in enumerate(value["data"]):
            yield from (f"{path}[{number}] {fault}" for fault in faults_of(one))
    elif isinstance(value.get("object"), str) and "id" in value:
        yield from (f"{path} {fault}" for fault in faults_of(value))
    else:
        classes = [m for m in members if isinstance(m, type) and issubclass(m, stripe.StripeObject)]
        mapping = (
            any(getattr(get_origin(m), "__name__", "") == "UntypedStripeObject" for m in members)
            or dict in [get_origin(m) for m in members] + members
        )
        if mapping or Any in members:
            return
        if not classes:
            yield f"{path}: an object"
            return
        yield from _against_class(value, classes[0], path)


def _scalar(value: Any, members: list[Any], path: str) -> Iterator[str]:
    choices = [choice for m in members if get_origin(m) is Literal for choice in get_args(m)]
    if choices and isinstance(value, str | bool):
        if value not in choices:
            yield f"{path}: {value!r} is none of {choices}"
        return
    # Decimals travel as text; references to other objects are their ids.
    wanted: list[Any] = [str if m is Decimal else m for m in members]
    if isinstance(value, bool):
        right = bool in wanted
    elif isinstance(value, int):
        right = int in wanted or float in wanted
    elif isinstance(value, float):
        right = float in wanted
    else:
        right = str in wanted or any(isinstance(m, ForwardRef) for m in wanted)
    if not right:
        yield f"{path}: {value!r} is not {members}"
