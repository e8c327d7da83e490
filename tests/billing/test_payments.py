"""GET /api/invoices, POST /api/payments/setup and /portal."""

import json
from typing import Any

import pytest
from django.conf import settings as live_settings
from pytest_django import Settings

from billing import cards, convergence
from billing.models import InvoiceRef
from config.contract.clients import clients
from tests.billing.owners import Owner, new_owner, paid
from tests.contract.state import nothing_written
from tests.sandbox.server import Control
from tests.support.cast import data, error, make_org, tokens_for


@pytest.fixture
def invoiced(owner: Owner) -> Owner:
    """An owner with four invoices: the trial's of nothing, and three changes'."""
    owner.upgrade("pro")
    owner.upgrade("business")
    owner.cancel("now")
    owner.subscribe("starter")
    return owner


def pages(owner: Owner, limit: int) -> list[list[str]]:
    """Return the ids of each page, following the cursor."""
    found, cursor = [], None
    while True:
        after = f"&cursor={cursor}" if cursor else ""
        page = data(owner.get(f"/api/invoices?limit={limit}{after}"))
        found.append([one["id"] for one in page["invoices"]])
        cursor = page["nextCursor"]
        if cursor is None:
            return found


def test_invoices_are_stripes_newest_first_with_their_totals(
    invoiced: Owner, sandbox: Control
) -> None:
    listed = data(invoiced.get("/api/invoices"))["invoices"]

    theirs = list(reversed(sandbox.objects("invoice")))
    assert [one["id"] for one in listed] == [one["id"] for one in theirs]
    assert [one["amount"] for one in listed] == [one["total"] for one in theirs]
    newest = listed[0]
    assert (newest["amount"], newest["currency"], newest["status"]) == (1900, "usd", "paid")
    assert newest["url"] == theirs[0]["hosted_invoice_url"]
    assert newest["created"].endswith("Z")


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
def test_pages_hold_every_invoice_once(invoiced: Owner, sandbox: Control, limit: int) -> None:
    found = pages(invoiced, limit)

    every = [one["id"] for one in reversed(sandbox.objects("invoice"))]
    assert [id_ for page in found for id_ in page] == every
    assert all(len(page) <= limit for page in found)


def test_a_draft_has_no_page_yet(owner: Owner, sandbox: Control) -> None:
    owner.upgrade("pro")
    ends = int(owner.mirror.current_period_end.timestamp())  # type: ignore[union-attr]
    sandbox.advance(to=ends + 60)

    newest = data(owner.get("/api/invoices"))["invoices"][0]

    assert (newest["status"], newest["url"], newest["amount"]) == ("draft", None, 9900)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=", "cursor"),
        ("cursor=in_nobody", "cursor"),
        ("cursor=../customers", "cursor"),
        ("cursor=sub_1", "cursor"),
        (f"cursor={'x' * 256}", "cursor"),
        # Of what is unknown not even the name comes back.
        ("page=2", ""),
    ],
)
def test_a_bad_query_is_400_and_names_its_field(owner: Owner, query: str, field: str) -> None:
    response = owner.get(f"/api/invoices?{query}")

    assert response.status_code == 400
    assert set(error(response)["details"]["fields"]) == {field}


@pytest.mark.parametrize("known_here", [True, False])
def test_anothers_invoice_is_no_cursor(invoiced: Owner, sandbox: Control, known_here: bool) -> None:
    neighbour = new_owner("Neighbour")
    neighbour.upgrade("pro")
    theirs = data(neighbour.get("/api/invoices"))["invoices"][0]["id"]
    if known_here:
        InvoiceRef.objects.create(stripe_invoice_id=theirs, org_id=neighbour.id)

    response = invoiced.get(f"/api/invoices?cursor={theirs}")
    unknown = invoiced.get("/api/invoices?cursor=in_nobody")

    assert response.status_code == 400
    assert error(response) == error(unknown)


def test_an_organisation_that_stripe_does_not_know_has_no_invoices_or_pages(
    transactional_db: None, sandbox: Control
) -> None:
    unknown = make_org()

    answers = [
        unknown.get("/api/invoices"),
        unknown.post("/api/payments/setup", {"orgId": unknown.id}),
        unknown.post("/api/payments/portal", {"orgId": unknown.id}),
    ]

    assert {one.status_code for one in answers} <= {200, 404, 502}
    assert all(one.status_code != 500 for one in answers)


def test_reading_invoices_writes_nothing(invoiced: Owner) -> None:
    with nothing_written():
        invoiced.get("/api/invoices?limit=1")


@pytest.mark.parametrize(
    ("path", "body"),
    [("setup", {}), ("portal", {}), ("portal", {"returnUrl": live_settings.PUBLIC_URL + "/x"})],
)
def test_what_only_the_customer_may_have_is_not_stored_on_the_way(
    owner: Owner, path: str, body: dict[str, Any]
) -> None:
    with nothing_written():
        response = owner.post(f"/api/payments/{path}", {"orgId": owner.id, **body})

    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"


def test_each_setup_is_a_new_one_and_its_secret_is_in_no_log(
    owner: Owner, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    secrets = [
        data(owner.post("/api/payments/setup", {"orgId": owner.id}))["clientSecret"]
        for _ in range(2)
    ]

    said = capsys.readouterr()
    assert secrets[0] != secrets[1]
    for secret in secrets:
        assert secret.startswith("seti_")
        assert secret not in said.out + said.err + caplog.text


def test_a_card_set_up_becomes_the_one_that_is_charged(
    transactional_db: None, sandbox: Control
) -> None:
    sandbox.settings(auto_card=False)
    try:
        owner = new_owner()
    finally:
        sandbox.settings(auto_card=True)
    data(owner.post("/api/payments/setup", {"orgId": owner.id}))
    [*_, intent] = sandbox.objects("setup_intent")
    clients.stripe.confirm_setup_intent(
        setup_intent_id=intent["id"],
        payment_method_id="pm_card_visa",
        return_url="https://app.example/",
        idempotency_key="confirm",
    )
    refused = owner.upgrade("pro")

    card = cards.collected_by(intent["id"])
    assert card is not None
    cards.use(card)

    assert error(refused)["details"]["reason"] == "payment_method_required"
    assert data(owner.upgrade("pro"))["planCode"] == "pro"
    assert paid(sandbox) == [9900]
    assert cards.collected_by(intent["id"]) is None


def set_up(owner: Owner, sandbox: Control, card: str) -> str:
    """Set a card up as a browser does; returns the SetupIntent."""
    data(owner.post("/api/payments/setup", {"orgId": owner.id}))
    [*_, intent] = sandbox.objects("setup_intent")
    clients.stripe.confirm_setup_intent(
        setup_intent_id=intent["id"],
        payment_method_id=card,
        return_url="https://app.example/",
        idempotency_key=intent["id"],
    )
    return str(intent["id"])


def come_by_checkout(sandbox: Control, card: str) -> Owner:
    """Sign up over Stripe's page, which gives the subscription a card of its own."""
    sandbox.settings(auto_card=False)
    try:
        owner = new_owner(checkout=True)
    finally:
        sandbox.settings(auto_card=True)
    [session] = sandbox.objects("checkout.session")
    assert sandbox.page(session["url"], action="pay", card=card)[0] == 302
    [subscription] = sandbox.objects("subscription")
    convergence.converge(subscription["id"], because="test")
    return owner


def test_a_card_set_up_is_charged_also_where_the_subscription_has_one_of_its_own(
    transactional_db: None, sandbox: Control
) -> None:
    """Stripe charges the subscription's own card first: Checkout's, or that of a paid invoice."""
    owner = come_by_checkout(sandbox, "pm_card_chargeCustomerFail")
    refused = owner.upgrade("pro")

    intent = set_up(owner, sandbox, "pm_card_visa")
    card = cards.collected_by(intent)
    assert card is not None
    cards.use(card)

    assert error(refused)["details"]["reason"] == "card_declined"
    assert data(owner.upgrade("pro"))["planCode"] == "pro"
    assert paid(sandbox) == [9900]
    assert cards.collected_by(intent) is None


def test_a_card_set_up_while_a_downgrade_waits_is_charged_once_that_begins(
    transactional_db: None, sandbox: Control
) -> None:
    """A phase that names a card gives it to the subscription when the phase begins."""
    owner = come_by_checkout(sandbox, "pm_card_visa")
    owner.upgrade("pro")
    owner.downgrade("starter")
    subscription_id = owner.mirror.stripe_subscription_id
    first = sandbox.show(subscription_id)["default_payment_method"]
    sandbox.advance(seconds=60)
    card = cards.collected_by(set_up(owner, sandbox, "pm_card_mastercard"))
    assert card is not None

    cards.use(card)
    sandbox.travel(days=33)

    subscription = sandbox.show(subscription_id)
    assert subscription["items"]["data"][0]["price"]["lookup_key"] == "starter"
    assert subscription["default_payment_method"] == card.payment_method_id != first


def test_what_a_crash_left_of_a_new_card_is_done_by_the_repeat(
    transactional_db: None, sandbox: Control
) -> None:
    owner = come_by_checkout(sandbox, "pm_card_chargeCustomerFail")
    intent = set_up(owner, sandbox, "pm_card_visa")
    card = cards.collected_by(intent)
    assert card is not None
    clients.stripe.set_default_payment_method(
        customer_id=card.customer_id,
        payment_method_id=card.payment_method_id,
        idempotency_key="before the crash",
    )

    again = cards.collected_by(intent)
    assert again is not None
    cards.use(again)

    assert data(owner.upgrade("pro"))["planCode"] == "pro"


def test_a_late_word_of_a_card_leaves_a_newer_one_of_the_subscription(
    transactional_db: None, sandbox: Control
) -> None:
    owner = come_by_checkout(sandbox, "pm_card_chargeCustomerFail")
    intent = set_up(owner, sandbox, "pm_card_visa")
    sandbox.advance(seconds=60)
    newer = clients.stripe.attach_payment_method(
        customer_id=owner.customer_id,
        payment_method_id="pm_card_mastercard",
        idempotency_key="newer",
    )
    subscription = owner.mirror.stripe_subscription_id
    clients.stripe._call(
        "subscriptions.update",
        lambda c: c.v1.subscriptions.update(subscription, {"default_payment_method": newer["id"]}),
    )

    card = cards.collected_by(intent)
    assert card is not None
    cards.use(card)

    assert sandbox.show(subscription)["default_payment_method"] == newer["id"]


def test_the_portal_is_made_with_one_configuration_that_changes_no_plan(
    owner: Owner, sandbox: Control
) -> None:
    urls = {data(owner.post("/api/payments/portal", {"orgId": owner.id}))["url"] for _ in range(2)}

    [configuration] = sandbox.objects("billing_portal.configuration")
    features = configuration["features"]
    assert features["payment_method_update"]["enabled"] is True
    assert features["subscription_update"]["enabled"] is False
    assert features["subscription_cancel"]["enabled"] is False
    assert len(urls) == 2
    assert {sandbox.page(url)[0] for url in urls} == {200}


@pytest.mark.parametrize(
    "url",
    [
        "https://app.acme.example/billing?x=1#there",
        "https://APP.acme.example/",
        "https://app.acme.example:8443/",
    ],
)
def test_the_portal_leads_back_to_allowed_hosts(
    owner: Owner, sandbox: Control, settings: Settings, url: str
) -> None:
    settings.ALLOWED_RETURN_HOSTS = ["app.acme.example"]

    data(owner.post("/api/payments/portal", {"orgId": owner.id, "returnUrl": url}))

    assert sandbox.objects("billing_portal.session")[-1]["return_url"] == url


@pytest.mark.parametrize(
    "url",
    [
        "http://app.acme.example/",
        "https://evil.example/",
        "https://app.acme.example.evil.example/",
        "https://evil.example/app.acme.example",
        "https://evil.example#app.acme.example",
        "https://app.acme.example@evil.example/",
        "https://user:pw@app.acme.example/",
        "https://user@app.acme.example/",
        "https://app.acme.example\\@evil.example/",
        "https:\\\\app.acme.example/",
        "https://app.acme.example\t/",
        " https://app.acme.example/",
        "https://app.acme.example/\n",
        "//app.acme.example/",
        "javascript:alert(1)",
        "https://",
        "https://[app.acme.example/",
        "https://app.acme.example:port/",
        "https://app.acme.example./",
        "https://аpp.acme.example/",
        "app.acme.example",
        "",
        "https://app.acme.example/" + "x" * 2048,
    ],
)
def test_the_portal_leads_nowhere_else(
    owner: Owner, sandbox: Control, settings: Settings, url: str
) -> None:
    settings.ALLOWED_RETURN_HOSTS = ["app.acme.example"]

    response = owner.post("/api/payments/portal", {"orgId": owner.id, "returnUrl": url})

    assert response.status_code == 400
    assert set(error(response)["details"]["fields"]) == {"returnUrl"}
    assert sandbox.objects("billing_portal.session") == []


@pytest.mark.parametrize("fault", ["error", "cut_before", "cut_after", "rate_limited"])
def test_a_fault_at_stripe_is_named(owner: Owner, sandbox: Control, fault: str) -> None:
    statuses = []
    for method, path in (
        ("GET", "invoices"),
        ("POST", "payments/setup"),
        ("POST", "payments/portal"),
    ):
        sandbox.fault(fault)
        if method == "GET":
            statuses.append(owner.get(f"/api/{path}").status_code)
        else:
            statuses.append(owner.post(f"/api/{path}", {"orgId": owner.id}).status_code)

    assert set(statuses) == ({502} if fault == "error" else {503})


@pytest.mark.parametrize("path", ["/api/payments/setup", "/api/payments/portal"])
def test_reading_billing_is_not_enough_to_pay(owner: Owner, path: str) -> None:
    reader = Owner(owner.id, tokens_for(owner.id, ("billing:read",)))

    response = reader.post(path, {"orgId": owner.id})

    assert (response.status_code, error(response)["code"]) == (403, "SCOPE_MISSING")
    assert reader.get("/api/invoices").status_code == 200
    assert "clientSecret" not in json.dumps(error(response))
