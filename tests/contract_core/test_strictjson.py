"""JSON as the contract takes it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.contract.errors import MalformedJson
from config.contract.strictjson import MAX_DEPTH, loads

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
floats = st.floats(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | floats | texts
documents = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def nested(depth: int, opening: str, closing: str) -> bytes:
    return (opening * depth + "1" + closing * depth).encode()


@given(documents, st.booleans())
def test_every_good_document_is_read_as_it_is(document: Any, ascii_only: bool) -> None:
    assert loads(json.dumps(document, ensure_ascii=ascii_only).encode()) == document


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b"{}{}",
        b"{} x",
        b"{'a': 1}",
        b'{"a": 1,}',
        b"[1,]",
        b'{"a": 1, "a": 1}',
        b'{"x": {"a": 1, "b": 2, "a": 3}}',
        b'[{"a": 1, "\\u0061": 2}]',
        b"NaN",
        b"[-Infinity]",
        b'{"a": Infinity}',
        b"1e309",
        b'{"a": -1e400}',
        b"9" * 5000,
        b"01",
        b'"\x00"',
        b'"\\u0000"',
        b'{"\\u0000": 1}',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'{"a": ["\\uD83D"]}',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf{}",
        b'"\t"',
        b"\xff\xfe{\x00}\x00",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda raw: repr(raw[:24]),
)
def test_everything_else_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedJson):
        loads(raw)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_is_taken_to_32_and_no_further(opening: str, closing: str) -> None:
    loads(nested(MAX_DEPTH, opening, closing))

    with pytest.raises(MalformedJson):
        loads(nested(MAX_DEPTH + 1, opening, closing))


def test_many_brackets_that_are_not_deep_are_no_offence() -> None:
    assert loads(b"[" + b"[],{}," * 500 + b"[]]") == [[], {}] * 500 + [[]]
    assert loads(b'"' + b"[{" * 100 + b'"') == "[{" * 100


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"\\\\u0000"', "\\u0000"),
        (b'"\\\\ud800"', "\\ud800"),
        (b'"\xf0\x9f\x98\x80"', "\U0001f600"),
    ],
    ids=["a pair of surrogates", "an escaped backslash", "another one", "plain UTF-8"],
)
def test_what_only_looks_like_a_bad_character_is_taken(raw: bytes, text: str) -> None:
    assert loads(raw) == text
