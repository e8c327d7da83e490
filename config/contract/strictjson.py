"""JSON as the contract takes it: I-JSON, nesting of at most 32.

msgspec is faster but keeps the last of duplicate keys, which would let two
readers of one body disagree about it; so objects are built here and msgspec
only converts them.
"""

import json
import re
from typing import Any, NoReturn

from config.contract.errors import MalformedJson

MAX_DEPTH = 32
# What PostgreSQL cannot store, or UTF-8 cannot carry: found in the raw text
# first, so that an innocent body pays one scan in C.
_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])|\x00")


def loads(raw: bytes) -> Any:
    """Parse `raw`.

    Raises MalformedJson for anything that is not one JSON document, for
    duplicate keys, NaN, Infinity, numbers out of range, lone surrogates, NUL
    characters and nesting beyond 32.
    """
    try:
        document = _DECODER.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        # ValueError is also what 5,000-digit numbers and bad UTF-8 raise.
        raise MalformedJson from None
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _refuse_depth(document, MAX_DEPTH)
    if _SUSPECT.search(raw):
        _refuse_text(document)
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    built = dict(pairs)
    if len(built) != len(pairs):
        raise ValueError("duplicate key")
    return built


def _constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("number out of range")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant, parse_float=_float)


def _refuse_depth(node: Any, left: int) -> None:
    if not isinstance(node, dict | list):
        return
    if left == 0:
        raise MalformedJson("The body is nested too deeply")
    for child in node.values() if isinstance(node, dict) else node:
        _refuse_depth(child, left - 1)


def _refuse_text(node: Any) -> None:
    if isinstance(node, str):
        if "\x00" in node or any("\ud800" <= character <= "\udfff" for character in node):
            raise MalformedJson("The body holds a character that no text may hold")
    elif isinstance(node, dict):
        for key, value in node.items():
            _refuse_text(key)
            _refuse_text(value)
    elif isinstance(node, list):
        for child in node:
            _refuse_text(child)
