"""What an event says that opens a door, blanked before it is stored.

Nothing here reads it: the object is fetched anew. The staff who look at what Stripe
sent need the facts, not the keys to a customer's payment or invoice page.
"""

import re
from typing import Any

BLANK = "[blanked]"

#: Names of fields that hold a secret or an address: `client_secret`, `hosted_invoice_url`,
#: `invoice_pdf`, `image_url_png`, `authentication_token`, `cvc`.
_NAME = re.compile(
    r"(secrets?|passwords?|api_?keys?|private_?keys?|authorization|(^|_)(token|cvc|pdf|ur[il]s?))"
    r"(_(png|svg))?$",
    re.IGNORECASE,
)
#: A list says where it is read: that needs a key of ours, and opens nothing by itself.
_OWN_PATH = re.compile(r"/v[12]/[\w/]*")
#: What opens a door by its look, wherever it stands: addresses, also of banks' apps and of
#: wallets; secrets of intents, sessions and endpoints; keys; signed tokens. Each part begins
#: at the beginning of a word or is bounded: a text of a megabyte is read once.
_VALUE = re.compile(
    r"\b[a-z][a-z0-9+.-]{0,30}://[^\s\"'<>\\]+"
    r"|\b(?:data:image/|bitcoin:|lightning:)[^\s\"'<>\\]+"
    r"|\b\w+_secret_\w+"
    r"|\b(?:whsec|ek_live|ek_test|[srp]k_live|[srp]k_test)_\w+"
    r"|(?<![\w-])eyJ[\w-]++\.[\w-]++(?:\.[\w-]*)?",
    re.IGNORECASE,
)


def blanked(document: Any) -> Any:
    """Return a JSON document with what opens a door blanked. The rest stays as it was."""
    if isinstance(document, dict):
        return {_text(key): _field(key, value) for key, value in document.items()}
    if isinstance(document, list):
        return [blanked(item) for item in document]
    return _text(document) if isinstance(document, str) else document


def _field(name: str, value: Any) -> Any:
    if _NAME.search(name) is None:
        return blanked(value)
    return _everything(value)


def _everything(value: Any) -> Any:
    """Blank all texts and numbers of a field that is secret by its name; an object by its own."""
    if isinstance(value, list):
        return [_everything(item) for item in value]
    if isinstance(value, str):
        return value if not value or _OWN_PATH.fullmatch(value) else BLANK
    if isinstance(value, int | float) and not isinstance(value, bool):
        return BLANK
    return blanked(value)


def _text(text: str) -> str:
    return _VALUE.sub(BLANK, text)
