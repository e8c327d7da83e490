"""Stripe's form encoding: `items[0][price]=p` is `{"items": [{"price": "p"}]}`."""

import re
from typing import Any
from urllib.parse import parse_qsl

from billing.sandbox.errors import invalid

#: What a form holds before it is checked: text, lists and objects of it.
Tree = dict[str, Any]

_KEY = re.compile(r"^[^\[\]]+((\[[^\[\]]*\])*)$")
_PART = re.compile(r"[^\[\]]+|\[\]")


def decode(encoded: str) -> Tree:
    """Turn a query string or form body into a tree of text. Raises StripeFault."""
    tree: Tree = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        if not _KEY.match(name):
            raise invalid(f"Invalid parameter name: {name}", code="parameter_unknown", param=name)
        _place(tree, _PART.findall(name), value, name)
    return {name: _with_lists(value) for name, value in tree.items()}


def _place(tree: Tree, parts: list[str], value: str, name: str) -> None:
    for position, part in enumerate(parts):
        key = str(len(tree)) if part == "[]" else part
        if position == len(parts) - 1:
            tree[key] = value
            return
        below = tree.setdefault(key, {})
        if not isinstance(below, dict):
            raise invalid(f"Invalid object: {name}", param=name)
        tree = below


def _with_lists(value: Any) -> Any:
    """Objects whose keys are 0, 1, 2 … are lists."""
    if not isinstance(value, dict):
        return value
    filled = {key: _with_lists(below) for key, below in value.items()}
    if filled and all(key.isdigit() for key in filled):
        return [filled[key] for key in sorted(filled, key=int)]
    return filled
