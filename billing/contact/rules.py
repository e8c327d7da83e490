"""Which names and e-mail addresses are taken. One rule for every door.

A name is any text that a person can read, in every script; Unicode's joiners are part
of words (Persian, Indic scripts) and of emoji. An address has to be deliverable as it
is written: what a mail server without SMTPUTF8 would refuse is refused here, since
nobody would hear of the mail that was lost.
"""

import re
import unicodedata

import idna

MOST_NAME_CHARACTERS = 120
MOST_EMAIL_CHARACTERS = 254
_MOST_LOCAL = 64
#: RFC 5322's dot-atom, in ASCII. `re.IGNORECASE` would let İ, ı, ſ and the Kelvin sign in.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
#: Embeddings, overrides and isolates: what follows would be read in another order.
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: Format characters that text has use for: joiners, direction marks, the soft hyphen, and the
#: signs that are written around or before digits.
_FORMAT = frozenset(
    "\u00ad\u061c\u200c\u200d\u200e\u200f\u2060\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f"
    "\u0890\u0891\u08e2\U000110bd\U000110cd"
)
#: The flags of Wales and the like: a black flag, its tags, and the end of them.
_TAGGED_FLAG = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f")
#: Letters, marks and symbols that draw nothing.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)


class NotTaken(ValueError):
    """The text is refused; the message says why and quotes nothing of it."""


def checked_name(text: str) -> str:
    """Return the name without space around it. Raises NotTaken."""
    name = text.strip()
    if not name or len(name) > MOST_NAME_CHARACTERS:
        raise NotTaken(f"Expected 1 to {MOST_NAME_CHARACTERS} characters")
    plain = _TAGGED_FLAG.sub("\U0001f3f4", name)
    for character in plain:
        if character in _BIDI:
            raise NotTaken("Must not change the direction of text (bidi controls)")
        if not _is_text(character):
            raise NotTaken("Must not hold control characters or line breaks")
    if not any(map(_is_visible, plain)):
        raise NotTaken("Must hold something that can be seen")
    return name


def checked_email(text: str) -> str:
    """Return the address as mail is sent to it: its domain in ASCII. Raises NotTaken."""
    address = text.strip()
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain:
        raise NotTaken("Expected an e-mail address")
    if local.startswith('"'):
        raise NotTaken("Quoted text before the @ is not delivered everywhere")
    if not local.isascii():
        raise NotTaken("Letters outside ASCII before the @ are not delivered everywhere")
    if not _LOCAL.fullmatch(local) or len(local) > _MOST_LOCAL:
        raise NotTaken("What stands before the @ is no name of a mailbox")
    address = f"{local}@{_ascii_domain(domain)}"
    if len(address) > MOST_EMAIL_CHARACTERS:
        raise NotTaken(f"Expected at most {MOST_EMAIL_CHARACTERS} characters")
    return address


def _ascii_domain(domain: str) -> str:
    refused = NotTaken("What stands after the @ is no domain that mail is delivered to")
    try:
        encoded = idna.encode(domain, uts46=True, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise refused from None
    labels = encoded.lower().split(".")
    # A trailing dot, an address literal, a bare host and a number are none either.
    if len(labels) < 2 or labels[-1].isdigit() or not all(map(_LABEL.fullmatch, labels)):
        raise refused
    # As written where that is ASCII already: nobody is told that their address is another.
    return domain if domain.isascii() else encoded


def _is_text(character: str) -> bool:
    if character in _FORMAT:
        return True
    code, category = ord(character), unicodedata.category(character)
    if category == "Cn":
        # Scripts newer than this Python's tables are names too; noncharacters and the
        # invisible plane of tags are not.
        return not (0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE or code >= 0xE0000)
    return category not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def _is_visible(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] not in "ZC" and not _BLANK.match(character) or category == "Cn"
