"""The e-mails: one template for each kind of notification."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.template.loader import render_to_string

from billing.models import InvoiceRef, Organization
from billing.money import money
from billing.notifications.models import Notification
from billing.text import day, metric_name, units

Kind = Notification.Kind
_SUBJECTS = {
    Kind.THRESHOLD_CROSSED: "{threshold}% used: {metric}",
    Kind.TRIAL_ENDING: "Your trial is about to end",
    Kind.PAYMENT_FAILED: "A payment failed",
}


def message(notification: Notification, address: str) -> EmailMessage:
    """Return the e-mail to one address.

    Its id is the notification's, so that a mail sent twice is known for the same.
    """
    data = notification.data
    context: dict[str, Any] = {
        "name": Organization.objects.filter(org_id=notification.org_id)
        .values_list("name", flat=True)
        .first(),
        "url": settings.PUBLIC_URL,
        **data,
    }
    if notification.kind == Kind.THRESHOLD_CROSSED:
        context |= {name: units(data[name]) for name in ("used", "includedUnits")}
        context["metric"] = metric_name(data["metric"])
    if notification.kind == Kind.TRIAL_ENDING:
        ends_at = datetime.fromisoformat(data["trialEndsAt"])
        context["ends_at"] = f"{day(ends_at)}, {ends_at:%H:%M}"
    if notification.kind == Kind.PAYMENT_FAILED:
        context["amount"] = money(data["amountDue"], data["currency"])
        context["pay_at"] = (
            InvoiceRef.objects.filter(stripe_invoice_id=data["invoiceId"])
            .values_list("hosted_invoice_url", flat=True)
            .first()
        )
    host = settings.PUBLIC_URL.partition("://")[2].partition("/")[0].partition(":")[0]
    return EmailMessage(
        _SUBJECTS[Kind(notification.kind)].format_map(context),
        render_to_string(f"mail/{notification.kind.replace('.', '_')}.txt", context),
        settings.DEFAULT_FROM_EMAIL,
        [address],
        headers={"Message-ID": f"<{notification.message_id}@{host or 'localhost'}>"},
    )
