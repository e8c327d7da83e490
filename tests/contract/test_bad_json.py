"""Bytes that are not one JSON document as I-JSON wants it: 400 MALFORMED_JSON on every route."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.refusals import ECHO, refused, refused_fields
from tests.contract.routes import WITH_BODY, Route
from tests.contract.state import nothing_written
from tests.support.cast import Org

pytestmark = pytest.mark.django_db(transaction=True)

each_route = pytest.mark.parametrize("route", WITH_BODY, ids=str)


def nested(levels: int) -> bytes:
    """Return a member that makes its document `levels` deep."""
    return b'"x": ' + b"[" * (levels - 1) + b"]" * (levels - 1)


#: Put into a valid body as one more member.
BAD_MEMBERS = {
    "NaN": b'"x": NaN',
    "Infinity": b'"x": Infinity',
    "-Infinity": b'"x": -Infinity',
    "1e309": b'"x": 1e309',
    "-1e309": b'"x": -1e309',
    "a fraction beyond a double": b'"x": ' + b"9" * 400 + b".5",
    "a number of 5,000 digits": b'"x": ' + b"7" * 5000,
    "a leading zero": b'"x": 01',
    "a bare fraction": b'"x": .5',
    "a plus sign": b'"x": +1',
    "hexadecimal": b'"x": 0x10',
    "Python's True": b'"x": True',
    "nesting of 33": nested(33),
    "nesting of 5,000": nested(5000),
    "nesting of 30,000 that never ends": b'"x": ' + b"[" * 30_000,
    "nested objects": b'"x": ' + b'{"x":' * 40 + b"1" + b"}" * 40,
    "a lone high surrogate": b'"x": "\\ud800"',
    "a lone low surrogate": b'"x": "\\uDC00"',
    "two high surrogates": b'"x": "\\ud83d\\ud83d"',
    "surrogates the wrong way round": b'"x": "\\ude00\\ud83d"',
    "a lone surrogate in a key": b'"\\ud800": 1',
    "a lone surrogate deep inside": b'"x": [{"y": ["\\ud800"]}]',
    "an escaped NUL": b'"x": "a\\u0000b"',
    "an escaped NUL in a key": b'"\\u0000": 1',
    "a raw NUL": b'"x": "a\x00b"',
    "a raw line feed in a string": b'"x": "a\nb"',
    "bytes that are no UTF-8": b'"x": "\xff\xfe"',
    "an overlong encoding": b'"x": "\xc0\xaf"',
    "an encoded surrogate": b'"x": "\xed\xa0\x80"',
    "a truncated character": b'"x": "\xe2\x82"',
    "a bad escape": b'"x": "\\x41"',
    "a short escape": b'"x": "\\u12"',
    "single quotes": b"\"x\": 'text'",
    "a bare key": b"x: 1",
    "a comment": b'"x": 1 /* why */',
    "a trailing comma": b'"x": 1,',
    "duplicate keys": b'"x": 1, "x": 1',
    "duplicate keys, spelt differently": b'"x": 1, "\\u0078": 2',
    "duplicate keys deep inside": b'"x": [{"y": 1, "y": 2}]',
}

#: Made from a whole valid body.
BAD_DOCUMENTS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda valid: b"",
    "blanks": lambda valid: b" \r\n\t",
    "a word": lambda valid: b"hello",
    "half of it": lambda valid: valid[: len(valid) // 2],
    "garbage behind it": lambda valid: valid + b"x",
    "a second document behind it": lambda valid: valid + valid,
    "a NUL behind it": lambda valid: valid + b"\x00",
    "a byte order mark": lambda valid: b"\xef\xbb\xbf" + valid,
    "UTF-16": lambda valid: valid.decode().encode("utf-16"),
    "UTF-32": lambda valid: valid.decode().encode("utf-32-be"),
    "a form": lambda valid: b"orgId=1&metric=2",
    "JSONP": lambda valid: b"f(" + valid + b")",
    "an XSSI guard": lambda valid: b")]}'\n" + valid,
}


@each_route
def test_a_document_with_a_malformed_member_is_refused(route: Route, org: Org) -> None:
    with nothing_written():
        answers = {
            name: route.send(with_member(route, org, member), org=org)
            for name, member in BAD_MEMBERS.items()
        }

    assert outcomes(answers) == dict.fromkeys(BAD_MEMBERS, "MALFORMED_JSON")


@each_route
def test_bytes_that_are_not_one_document_are_refused(route: Route, org: Org) -> None:
    valid = json.dumps(route.valid_body(org)).encode()

    with nothing_written():
        answers = {name: route.send(make(valid), org=org) for name, make in BAD_DOCUMENTS.items()}

    assert outcomes(answers) == dict.fromkeys(BAD_DOCUMENTS, "MALFORMED_JSON")


@each_route
def test_every_key_of_a_body_may_stand_in_it_once(route: Route, org: Org) -> None:
    body = route.valid_body(org)
    twice = {name: f'"{name}": {json.dumps(body[name])}'.encode() for name in body}

    with nothing_written():
        answers = {
            name: route.send(with_member(route, org, member), org=org)
            for name, member in twice.items()
        }

    assert outcomes(answers) == dict.fromkeys(body, "MALFORMED_JSON")


GOOD_MEMBERS = {
    "nesting of 32": nested(32),
    "an emoji as a pair of surrogates": b'"x": "\\ud83d\\ude00"',
    "an emoji in UTF-8": '"x": "😀"'.encode(),
    "a backslash before what looks like a NUL": b'"x": "\\\\u0000"',
    "a backslash before what looks like a surrogate": b'"x": "\\\\ud800"',
    "the largest double": b'"x": 1.7976931348623157e308',
    "a number too small for a double": b'"x": 1e-400',
    "4,000 digits": b'"x": ' + b"7" * 4000,
}


@each_route
def test_json_at_the_edge_of_the_grammar_is_read(route: Route, org: Org) -> None:
    # Read, and then refused for what it is: fields that the route does not know.
    with nothing_written():
        answers = {
            name: route.send(with_member(route, org, member), org=org)
            for name, member in GOOD_MEMBERS.items()
        }

    assert {name: refused_fields(answer) for name, answer in answers.items()} == dict.fromkeys(
        GOOD_MEMBERS, {"x", "echo"}
    )


def with_member(route: Route, org: Org, member: bytes) -> bytes:
    """Return a valid body with one more member, and a canary that no answer may echo."""
    valid = json.dumps(route.valid_body(org)).encode()
    return valid[:-1] + f', "echo": "{ECHO}", '.encode() + member + b"}"


def outcomes(answers: dict[str, Any]) -> dict[str, str]:
    """Return the code of each answer, in its envelope and echoing nothing."""
    found = {}
    for name, answer in answers.items():
        code = answer.json()["error"]["code"]
        refused(answer, 400, code)
        found[name] = code
    return found
