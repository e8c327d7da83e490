"""Secrets of a local installation: made once, kept in one private file."""
# ruff: noqa: S603 - a launcher starts processes; no argument comes from outside

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from config.launcher.ui import Refusal

# `<kid>:<base64url PKCS8 DER without padding>`, as the settings read it. Run by the
# environment's interpreter: the standard library cannot make an elliptic curve key.
MAKE_SIGNING_KEY = """
import base64, secrets
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import ec
der = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    s.Encoding.DER, s.PrivateFormat.PKCS8, s.NoEncryption())
print(secrets.token_hex(4) + ":" + base64.urlsafe_b64encode(der).rstrip(b"=").decode())
"""


def _signing_key(python: Path) -> str:
    made = subprocess.run(
        [python, "-I", "-c", MAKE_SIGNING_KEY], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        raise Refusal(
            "No signing key could be made: " + (made.stderr.strip() or "?").split("\n")[-1]
        )
    return made.stdout.strip()


# A key for Stripe has to look like a test key, or the settings refuse it in a sandbox.
RECIPES: dict[str, Callable[[Path], str]] = {
    "SECRET_KEY": lambda python: secrets.token_urlsafe(50),
    "TOKEN_HASH_KEY": lambda python: secrets.token_urlsafe(32),
    "STATEMENT_KEY": lambda python: secrets.token_urlsafe(32),
    "STRIPE_WEBHOOK_SECRETS": lambda python: "whsec_" + secrets.token_hex(24),
    "STRIPE_API_KEY": lambda python: "sk_test_" + secrets.token_hex(24),
    "TOKEN_SIGNING_KEYS": _signing_key,
    "ADMIN_PASSWORD": lambda python: secrets.token_urlsafe(12),
}


def make_secrets(python: Path, names: Mapping[str, object] | None = None) -> dict[str, str]:
    """Fresh values for these names (all, when none are given)."""
    return {name: RECIPES[name](python) for name in (RECIPES if names is None else names)}


def kept_secrets(path: Path, python: Path) -> dict[str, str]:
    """The installation's secrets, from their file or made now.

    A name that a later version adds is made then; what exists never changes.
    """
    known = read(path)
    made = make_secrets(python, {name: None for name in RECIPES if name not in known})
    if made:
        known |= made
        write(path, known)
    return known


def read(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def write(path: Path, values: Mapping[str, str]) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    # Private from its first byte, and complete or absent after a crash.
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("# Made once by ./dev. Whoever reads this file can sign tokens.\n")
        file.writelines(f"{name}={value}\n" for name, value in values.items())
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
