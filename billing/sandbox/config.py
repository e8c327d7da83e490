"""What the sandbox is told at start, from the environment."""

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

_PLANS = Path(__file__).resolve().parent.parent / "plans.json"


def _flag(name: str, default: bool) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return default
    if value in {"1", "true", "on", "yes"}:
        return True
    if value in {"0", "false", "off", "no"}:
        return False
    raise SystemExit(f"{name} must be on or off")


@dataclass(frozen=True, kw_only=True)
class Config:
    """One sandbox. `schema` keeps several of them apart in one database (tests)."""

    database_url: str = field(repr=False)
    api_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    webhook_url: str | None = None
    #: Where browsers and clients reach us; the pages' links start with it.
    public_url: str = "http://127.0.0.1:8001"
    schema: str = "stripe_sandbox"
    plans_path: Path = _PLANS
    #: New customers get a working test card.
    auto_card: bool = True
    #: Deliver webhooks and apply what falls due without being asked to.
    background: bool = True

    @property
    def host(self) -> str:
        return urlsplit(self.public_url).hostname or "127.0.0.1"

    @property
    def port(self) -> int:
        return urlsplit(self.public_url).port or 80

    @classmethod
    def from_environment(cls) -> "Config":
        """Read the variables. Raises SystemExit, naming what is missing or nonsense."""
        database_url = os.environ.get("SANDBOX_DATABASE_URL", "")
        api_key = os.environ.get("STRIPE_API_KEY", "")
        if not database_url or not api_key:
            raise SystemExit("The sandbox needs SANDBOX_DATABASE_URL and STRIPE_API_KEY")
        if api_key.startswith(("sk_live_", "rk_live_")):
            raise SystemExit("A live Stripe key has no business in the sandbox")
        signing = [s.strip() for s in os.environ.get("STRIPE_WEBHOOK_SECRETS", "").split(",")]
        web = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}/api/webhooks/stripe"
        return cls(
            database_url=database_url,
            api_key=api_key,
            webhook_secret=signing[0] or f"whsec_{secrets.token_urlsafe(24)}",
            webhook_url=os.environ.get("SANDBOX_WEBHOOK_URL", web) or None,
            public_url=os.environ.get("SANDBOX_URL", cls.public_url).rstrip("/"),
            schema=os.environ.get("SANDBOX_SCHEMA", cls.schema),
            plans_path=Path(os.environ.get("SANDBOX_PLANS", str(_PLANS))),
            auto_card=_flag("SANDBOX_AUTO_CARD", True),
        )
