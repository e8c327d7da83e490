"""The pages a customer would see at Stripe: Checkout, portal, invoice, 3-D Secure.

Plain forms, no script. Each action is one transaction that ends in a redirect.
"""

from html import escape
from string import Template
from typing import Any

from billing.money import money
from billing.sandbox import cards, checkout, invoices, lines, portal, setup_intents, subscriptions
from billing.sandbox.errors import StripeFault
from billing.sandbox.periods import in_words
from billing.sandbox.shapes import Obj, notes
from billing.sandbox.store import Store

#: A page is HTML; a redirect is where to go next.
Page = tuple[str, str | None]

_LAYOUT = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>$title</title>
<style>
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 3rem auto; padding: 0 1rem;
  color: #1a1f36; background: #f6f8fa }
main { background: #fff; border: 1px solid #d8dee4; border-radius: 8px; padding: 1.5rem 2rem }
h1 { margin: .25rem 0 1rem; font-size: 1.6rem; line-height: 1.25 }
.mode { margin: 0; color: #8a5c00 } .error { color: #b3093c; font-weight: 600 }
table { width: 100%; border-collapse: collapse } td { padding: .4rem 0; vertical-align: top }
tr + tr td { border-top: 1px solid #eaeef2 } td:last-child { text-align: right }
tr.sum td { font-weight: 600 } form { margin: 1.25rem 0 0 }
button, select { font: inherit; padding: .5rem .8rem; border-radius: 6px;
  border: 1px solid #c0c8d2 }
select { display: block; width: 100%; margin-top: .25rem; background: #fff; color: inherit }
button { background: #533afd; color: #fff; border-color: #533afd; cursor: pointer }
button.plain { background: #fff; color: #1a1f36; border-color: #c0c8d2 }
:focus-visible { outline: 3px solid #96a0ff; outline-offset: 2px }
</style></head><body><main>
<p class="mode">Sandbox: no money moves here.</p><h1>$title</h1>$error$content
</main></body></html>
""")


def render(title: str, content: str, error: str | None = None) -> str:
    """Return a whole page. `content` is HTML, everything in it escaped by its maker."""
    shown = f'<p class="error" role="alert">{escape(error)}</p>' if error else ""
    return _LAYOUT.substitute(title=escape(title), content=content, error=shown)


def _choice(pay: str, form: dict[str, Any]) -> str:
    chosen = form.get("card")
    options = "".join(
        f'<option value="{name}"{" selected" if name == chosen else ""}>'
        f"{escape(_describe(name))}</option>"
        for name in cards.CARDS
        if not name.startswith("pm_card_visa_")
    )
    return (
        '<p><label>Test card <select name="card">' + options + "</select></label></p>"
        f'<button name="action" value="pay">{escape(pay)}</button>'
    )


def _describe(name: str) -> str:
    card = cards.CARDS[name]
    what = "works"
    if card.wants_authentication:
        what = "wants authentication for every payment"
    elif not card.attaches:
        what = "is declined at once"
    elif card.declines:
        what = "is accepted, then declined when charged"
    return f"{card.brand.capitalize()} •••• {card.last4} ({what})"


def checkout_page(store: Store, id_: str, form: dict[str, Any], error: str | None) -> Page:
    """Pay with a test card, or go back."""
    session = store.get("checkout.session", id_)
    back = session["cancel_url"] or session["success_url"]
    if form.get("action") == "cancel":
        return "", back
    if form.get("action") == "pay":
        if session["status"] == "open":
            checkout.complete(store, session, _card(form))
        target = session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"])
        return "", target
    if session["status"] != "open":
        said = f"<p>This page is {escape(session['status'])}. Nothing is left to do here.</p>"
        return render("Checkout", said), None
    rows = ""
    for item in notes(session)["items"]:
        price = store.get("price", item["price"])
        name = escape(lines.product_name(store, price))
        each = money(price["unit_amount"] or 0, price["currency"])
        rows += f"<tr><td>{name}</td><td>{each} / {price['recurring']['interval']}</td></tr>"
    trial_end = _trial_end(store, session)
    if trial_end is not None:
        rows += f"<tr><td>Free until</td><td>{in_words(trial_end)}</td></tr>"
    due = money(session["amount_total"], session["currency"])
    content = (
        f'<table>{rows}<tr class="sum"><td>Due today</td><td>{due}</td></tr></table>'
        f'<form method="post">{_choice("Subscribe", form)} '
        '<button class="plain" name="action" value="cancel">Back</button></form>'
    )
    return render("Checkout", content, error), None


def _trial_end(store: Store, session: Obj) -> int | None:
    data: Obj = notes(session)["subscription_data"]
    days: int = data.get("trial_period_days", 0)
    end: int | None = data.get("trial_end", store.at + days * invoices.DAY if days else None)
    return end


def portal_page(
    store: Store, id_: str, secret: str, form: dict[str, Any], error: str | None
) -> Page:
    """Set a card, cancel where the configuration allows it, go back."""
    session = portal.opened(store, id_, secret)
    if form.get("action") == "pay":
        portal.set_card(store, session, _card(form))
        return "", session["url"]
    if form.get("action") == "cancel":
        portal.cancel(store, session)
        return "", session["url"]
    customer = store.get("customer", session["customer"])
    configuration = store.get("billing_portal.configuration", session["configuration"])
    default = customer["invoice_settings"]["default_payment_method"]
    method = store.find(default) if default else None
    card = "none"
    if method:
        card = f"{method['card']['brand'].capitalize()} •••• {method['card']['last4']}"
    rows = "".join(
        f"<tr><td>{escape(_plan(store, s))}</td><td>{escape(s['status'])}"
        f"{' (ends at period end)' if s['cancel_at_period_end'] else ''}</td></tr>"
        for s in store.all("subscription", customer=customer["id"])
        if s["status"] not in subscriptions.ENDED
    )
    content = (
        f"<table>{rows}<tr><td>Card on file</td><td>{escape(card)}</td></tr></table>"
        f'<form method="post">{_choice("Use this card", form)}</form>'
    )
    if configuration["features"]["subscription_cancel"]["enabled"]:
        content += (
            '<form method="post"><button class="plain" name="action" value="cancel">'
            "Cancel the subscription</button></form>"
        )
    if session["return_url"]:
        content += f'<p><a href="{escape(session["return_url"])}">Back</a></p>'
    return render("Billing portal", content, error), None


def invoice_page(
    store: Store, id_: str, secret: str, form: dict[str, Any], error: str | None
) -> Page:
    """Show an invoice; pay it with the customer there to authenticate."""
    invoice = store.get("invoice", id_)
    url: str = invoice["hosted_invoice_url"] or ""
    if not secret or not url.endswith(f"secret={secret}"):
        raise StripeFault("No such invoice", status=404)
    if form.get("action") == "pay":
        if invoice["status"] == "open":
            _pay(store, invoice, _card(form))
        return "", url
    rows = "".join(
        f"<tr><td>{escape(line['description'] or '')}</td>"
        f"<td>{money(line['amount'], line['currency'])}</td></tr>"
        for line in invoice["lines"]["data"]
    )
    sums = {"Total": "total", "Paid": "amount_paid", "Amount due": "amount_remaining"}
    rows += "".join(
        f'<tr class="sum"><td>{word}</td><td>{money(invoice[name], invoice["currency"])}</td></tr>'
        for word, name in sums.items()
    )
    content = (
        f"<p>{escape(invoice['number'])} of {in_words(invoice['created'])}:"
        f" {escape(invoice['status'])}</p><table>{rows}</table>"
    )
    if invoice["status"] == "open":
        content += f'<form method="post">{_choice("Pay", form)}</form>'
    return render("Invoice", content, error), None


def _pay(store: Store, invoice: Obj, card: str) -> None:
    customer = store.customer(invoice["customer"])
    method = cards.attach(store, card, customer)
    failure = invoices.collect(store, invoice, method=method, on_session=True)
    if failure is not None:
        failure.keep = True
        raise failure
    if invoice["parent"] is None:
        return  # billed beside a subscription
    subscription = store.get(
        "subscription", invoice["parent"]["subscription_details"]["subscription"]
    )
    if subscription["payment_settings"]["save_default_payment_method"] == "on_subscription":
        subscription["default_payment_method"] = method["id"]
        subscriptions.updated(store, subscription)


def setup_page(
    store: Store, id_: str, secret: str, form: dict[str, Any], error: str | None
) -> Page:
    """The bank's question: authenticate, or not."""
    intent = store.get("setup_intent", id_)
    if secret != intent["client_secret"]:
        raise StripeFault("No such setup intent", status=404)
    if form.get("action") == "pay" and intent["status"] == "requires_action":
        back = (intent["next_action"] or {}).get("redirect_to_url", {}).get("return_url")
        setup_intents.succeed(store, intent, intent["payment_method"])
        return render("Done", "<p>The card is set up.</p>"), back
    if intent["status"] != "requires_action":
        return render("Card set-up", f"<p>Nothing to do: {escape(intent['status'])}.</p>"), None
    content = (
        '<p>Your bank asks whether this is you.</p><form method="post">'
        '<button name="action" value="pay">Complete authentication</button></form>'
    )
    return render("Card set-up", content, error), None


def _card(form: dict[str, Any]) -> str:
    card = form.get("card", cards.DEFAULT)
    if not isinstance(card, str) or card not in cards.CARDS:
        raise StripeFault("Choose one of the test cards.")
    return card


def _plan(store: Store, subscription: Obj) -> str:
    return lines.product_name(store, subscription["items"]["data"][0]["price"])
