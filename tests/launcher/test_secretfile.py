import base64
import stat
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key

from config.launcher import secretfile

PYTHON = Path(sys.executable)


def test_secrets_are_made_once_and_kept_private(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"

    first = secretfile.kept_secrets(path, PYTHON)

    assert secretfile.kept_secrets(path, PYTHON) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first["STRIPE_API_KEY"].startswith("sk_test_")
    assert first["STRIPE_WEBHOOK_SECRETS"].startswith("whsec_")


def test_a_secret_of_a_later_version_is_added(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    before = secretfile.kept_secrets(path, PYTHON)
    secretfile.write(path, {k: v for k, v in before.items() if k != "STATEMENT_KEY"})

    after = secretfile.kept_secrets(path, PYTHON)

    assert after.keys() == before.keys()
    assert {k: v for k, v in after.items() if k != "STATEMENT_KEY"}.items() <= before.items()
    assert after["STATEMENT_KEY"] != before["STATEMENT_KEY"]


def test_the_signing_key_is_a_p256_key_with_an_id() -> None:
    [value] = secretfile.make_secrets(PYTHON, {"TOKEN_SIGNING_KEYS": None}).values()

    kid, _, encoded = value.partition(":")
    key = load_der_private_key(
        base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)), password=None
    )
    assert kid
    assert "=" not in encoded
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
