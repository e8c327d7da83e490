"""Telling an owner again."""

from django import forms

from billing.notifications.deliveries import resend
from billing.notifications.models import Delivery, NotificationSettings
from config.backoffice.acts.base import Act, Asked, By, Change, Done, Effect, Facts
from config.backoffice.acts.forms import OrgActForm
from config.contract import clock
from config.contract.errors import NotFound


class DeliveryForm(OrgActForm):
    """Which delivery."""

    delivery_id = forms.IntegerField(label="Number of the delivery", min_value=1)


class ResendNotification(Act):
    """A delivery that failed, or that the owner says never came."""

    name = "resend-notification"
    title = "Resend this notification"
    about = (
        "Sends an e-mail or a webhook again, under the same id: a receiver that took it before"
        " knows it for a repeat."
    )
    group = "Stripe and notifications"
    icon = "forward_to_inbox"
    permission = "webhooks.replay_webhookevent"
    form = DeliveryForm
    rows = {
        "billing.Delivery": lambda row: {
            "org_id": row.notification.org_id,
            "delivery_id": str(row.pk),
        },
    }

    def effect(self, asked: Asked) -> Effect:
        """Return to whom, and what became of it."""
        row = (
            Delivery.objects.select_related("notification")
            .filter(pk=asked["delivery_id"], notification__org_id=asked["org_id"])
            .first()
        )
        if row is None:
            raise NotFound("The organisation has no such delivery")
        state = f"{row.state} after {row.attempts} attempt{'s' * (row.attempts != 1)}"
        if row.error:
            state += f" ({row.error})"
        what = f"{row.notification.get_kind_display()} to {_address(row)}"
        facts = {"state": row.state, "attempts": row.attempts, "to": _address(row)}
        return Effect([Change(what, state, "sent again, now")], facts)

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Send it again; a worker does the sending."""
        row = resend(asked["delivery_id"], now=clock.real_now())
        return Done(f"{row.notification.get_kind_display()} is being sent again to {shown['to']}.")


def _address(row: Delivery) -> str:
    if row.channel == Delivery.Channel.EMAIL:
        return row.address
    held = NotificationSettings.objects.filter(org_id=row.notification.org_id).first()
    return held.url if held and held.url else "a webhook that is not set up any more"
