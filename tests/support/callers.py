"""Bounds on who asks Stripe at once, for tests of one web process."""

from django.conf import settings

from billing.stripe_gateway.callers import CallerLimits, Callers


def as_configured() -> Callers:
    """Return the bounds of a web process."""
    return Callers(CallerLimits(**settings.STRIPE_CALLERS))


def room_for(places: int, *, at_once: int = 1, wait_seconds: float = 30.0) -> Callers:
    """Return bounds that take so many, of whichever organisation; whoever comes then is refused."""
    return Callers(
        CallerLimits(
            at_once=at_once,
            at_once_per_org=at_once,
            places=places,
            places_per_org=places,
            wait_seconds=wait_seconds,
        )
    )
