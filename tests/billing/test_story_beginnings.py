"""How customers begin: with a card that fails, with none, and over Stripe's own page."""

from datetime import UTC, datetime, timedelta

from pytest_django.live_server_helper import LiveServer

from billing import checkouts
from config.contract import clock
from tests.billing.agreement import Account, Terms, opening
from tests.billing.owners import live_subscriptions, use_card
from tests.sandbox.server import Control
from tests.support.cast import data, error

STARTER: Terms = {"plan": "starter", "price": 1_900}


def march() -> datetime:
    """Return the noon at which everybody here signs up: the trial ends on March 31."""
    return datetime(clock.now().year + 1, 3, 17, 12, tzinfo=UTC)


def last_invoice(account: Account) -> str:
    """Return the page of the newest invoice."""
    url: str = data(account.owner.get("/api/invoices?limit=1"))["invoices"][0]["url"]
    return url


def refusal(response: object) -> tuple[str, str]:
    """Return code and reason of a 402."""
    refused = error(response)
    return refused["code"], refused["details"]["reason"]


def test_a_trial_whose_card_is_declined_is_paid_late(
    live_server: LiveServer, sandbox: Control
) -> None:
    with opening(live_server, sandbox, march()) as acme:
        ends, april = acme.on(3, 31), acme.on(4, 30)
        trial: Terms = {**STARTER, "status": "trialing", "until": ends, "trial_ends_at": ends}
        acme.is_billed(0)
        acme.agrees(**trial, used=0)

        # An upgrade would end the trial and be paid: neither, with such a card.
        use_card(acme.owner, "pm_card_chargeCustomerFail")
        assert data(acme.owner.preview("pro"))["amount"] == 9_900
        assert refusal(acme.owner.upgrade("pro")) == ("PAYMENT_REQUIRED", "card_declined")
        acme.agrees(**trial, used=0)
        use_card(acme.owner, "pm_card_authenticationRequired")
        assert refusal(acme.owner.upgrade("pro"))[1] == "authentication_required"
        acme.agrees(**trial, used=0)
        use_card(acme.owner, "pm_card_chargeCustomerFail")

        data(acme.owner.use(3_000))
        acme.reach(ends, hours=2)
        acme.is_billed(1_900, "open")
        late = {**trial, "status": "past_due", "until": april}
        acme.agrees(**late, used=3_000, by_event=True)
        data(acme.owner.use(1_000))

        # Stripe tries again after three days, with the card that is there then.
        acme.reach(ends, days=3)
        acme.agrees(**late, used=0, by_event=True)
        use_card(acme.owner, "pm_card_visa")
        acme.reach(ends, days=3, hours=2)
        acme.paid_last()
        acme.agrees(**{**late, "status": "active"}, used=0, by_event=True)

        # And once more, until Stripe gives up: grace for a week, the end after 15 days.
        use_card(acme.owner, "pm_card_chargeCustomerFail")
        acme.reach(april, hours=2)
        acme.is_billed(1_900, "open")
        late = {**late, "until": acme.on(5, 31)}
        acme.agrees(**late, used=0, by_event=True)
        acme.reach(april, days=9)
        acme.answers("starter", "past_due", included=10_000, used=0, refused="PAYMENT_REQUIRED")
        acme.agrees(**late, used=0, refused="PAYMENT_REQUIRED", by_event=True)
        assert acme.owner.use(1).status_code == 402
        acme.reach(april, days=15, hours=2)
        acme.agrees(
            **{**late, "status": "canceled"},
            used=0,
            refused="PAYMENT_REQUIRED",
            ends_at=april + timedelta(days=15, hours=1),
            by_event=True,
        )

        # Back with a good card: paid at once, from today, the old bill is left as it is.
        use_card(acme.owner, "pm_card_visa")
        back = acme.on(5, 16)
        acme.reach(back)
        data(acme.owner.subscribe("starter"))
        acme.is_billed(1_900)
        again = acme.mirror.billing_cycle_anchor
        assert again is not None
        assert again - back < timedelta(minutes=5)
        acme.agrees(**STARTER, status="active", until=again.replace(month=6), used=0)
        assert len(live_subscriptions(sandbox)) == 1


def test_a_trial_without_a_card_pauses_and_is_paid_from_the_day_of_its_resumption(
    live_server: LiveServer, sandbox: Control
) -> None:
    sandbox.settings(auto_card=False)
    with opening(live_server, sandbox, march()) as acme:
        ends = acme.on(3, 31)
        trial: Terms = {**STARTER, "status": "trialing", "until": ends, "trial_ends_at": ends}
        acme.is_billed(0)
        acme.agrees(**trial, used=0)
        assert refusal(acme.owner.upgrade("pro")) == (
            "PAYMENT_REQUIRED",
            "payment_method_required",
        )
        acme.agrees(**trial, used=0)
        data(acme.owner.use(10_000))
        acme.agrees(**trial, used=10_000, refused="RATE_LIMITED")

        # A day of grace where no word comes; once it came there is none.
        acme.reach(ends, hours=1)
        acme.answers("starter", "trialing", included=10_000, used=10_000, refused="RATE_LIMITED")
        paused = {**trial, "status": "paused", "refused": "PAYMENT_REQUIRED"}
        acme.agrees(**paused, used=10_000, by_event=True)
        assert error(acme.owner.upgrade("pro"))["code"] == "PLAN_CHANGE_CONFLICT"
        assert error(acme.owner.subscribe("pro"))["code"] == "PLAN_CHANGE_CONFLICT"
        assert refusal(acme.owner.resume())[1] == "payment_method_required"
        acme.agrees(**paused, used=10_000)

        # With a card that fails there is a bill, and still no access.
        use_card(acme.owner, "pm_card_chargeCustomerFail")
        acme.reach(acme.on(4, 15))
        assert refusal(acme.owner.resume())[1] == "card_declined"
        acme.is_billed(1_900, "open")
        restarted = clock.now().replace(microsecond=0)
        until = acme.mirror.current_period_end
        assert until is not None
        assert timedelta(0) <= restarted.replace(month=5) - until < timedelta(minutes=2)
        acme.agrees(**{**paused, "until": until}, used=0)

        # The same bill is paid, and no second one made.
        use_card(acme.owner, "pm_card_visa")
        assert data(acme.owner.resume()) == {"status": "active", "endsAt": None}
        acme.paid_last()
        active = {**trial, "status": "active", "until": until}
        acme.agrees(**active, used=0)
        assert data(acme.owner.use(1))["used"] == 1
        acme.reach(until, hours=2)
        acme.is_billed(1_900)
        acme.agrees(**{**active, "until": until.replace(month=6)}, used=0, by_event=True)


def test_checkout_keeps_the_trial_it_promised(live_server: LiveServer, sandbox: Control) -> None:
    sandbox.settings(auto_card=False)
    with opening(live_server, sandbox, march(), checkout=True) as acme:
        # There is nothing at Stripe yet but the page.
        ends = acme.on(3, 31)
        acme.answers("starter", "trialing", included=10_000, used=0)
        data(acme.owner.use(2_000))
        acme.hear()
        acme.answers("starter", "trialing", included=10_000, used=2_000)
        assert data(acme.owner.get("/api/invoices"))["invoices"] == []

        acme.reach(acme.on(3, 22))
        [page] = sandbox.objects("checkout.session")
        if page["status"] != "open":
            # It is good for a day; the owner has another made.
            fresh = acme.owner.post("/api/plans/checkout", {"orgId": acme.owner.id})
            page = {"url": data(fresh)["checkoutUrl"]}
        assert sandbox.page(page["url"], action="pay", card="pm_card_visa")[0] == 302
        acme.answers("starter", "trialing", included=10_000, used=2_000)
        acme.is_billed(0)
        trial: Terms = {**STARTER, "until": ends, "trial_ends_at": ends}
        acme.agrees(**trial, status="trialing", used=2_000, by_event=True)

        acme.reach(ends, hours=2)
        acme.answers("starter", "trialing", included=10_000, used=2_000)
        acme.is_billed(1_900)
        active = {**trial, "status": "active", "until": acme.on(4, 30)}
        acme.agrees(**active, used=2_000, by_event=True)


def test_checkout_that_nobody_completes_ends_with_the_trial(
    live_server: LiveServer, sandbox: Control
) -> None:
    sandbox.settings(auto_card=False)
    with opening(live_server, sandbox, march(), checkout=True) as acme:
        ends = acme.on(3, 31)
        data(acme.owner.use(2_000))
        acme.reach(ends, hours=-1)
        acme.hear()
        acme.answers("starter", "trialing", included=10_000, used=2_000)
        acme.reach(ends, hours=1)
        checkouts.end_trials(now=clock.now())
        acme.hear()
        acme.answers("starter", "canceled", included=10_000, used=2_000, refused="PAYMENT_REQUIRED")
        assert acme.owner.use(1).status_code == 402
        assert refusal(acme.owner.subscribe("pro"))[1] == "payment_method_required"
        acme.answers("starter", "canceled", included=10_000, used=2_000, refused="PAYMENT_REQUIRED")

        # With a card, a month later: paid at once and without a trial.
        acme.reach(acme.on(4, 30))
        use_card(acme.owner, "pm_card_visa")
        data(acme.owner.subscribe("pro"))
        acme.is_billed(9_900)
        begun = acme.mirror.billing_cycle_anchor
        assert begun is not None
        acme.agrees(plan="pro", status="active", price=9_900, until=begun.replace(month=5), used=0)
        assert len(live_subscriptions(sandbox)) == 1


def test_checkout_left_for_a_subscription_keeps_the_trial_it_promised(
    live_server: LiveServer, sandbox: Control
) -> None:
    sandbox.settings(auto_card=False)
    with opening(live_server, sandbox, march(), checkout=True) as acme:
        ends = acme.on(3, 31)
        acme.reach(acme.on(3, 24))
        use_card(acme.owner, "pm_card_visa")
        assert data(acme.owner.subscribe("starter"))["status"] == "trialing"
        acme.is_billed(0)
        trial: Terms = {**STARTER, "until": ends, "trial_ends_at": ends, "used": 0}
        acme.agrees(**trial, status="trialing")
        acme.reach(ends, hours=2)
        acme.is_billed(1_900)
        acme.agrees(**{**trial, "until": acme.on(4, 30)}, status="active", by_event=True)
        assert len(live_subscriptions(sandbox)) == 1


def test_checkout_left_for_a_dearer_plan_is_paid_at_once(
    live_server: LiveServer, sandbox: Control
) -> None:
    sandbox.settings(auto_card=False)
    with opening(live_server, sandbox, march(), checkout=True) as acme:
        acme.reach(acme.on(3, 24))
        use_card(acme.owner, "pm_card_visa")
        assert data(acme.owner.subscribe("pro"))["status"] == "active"
        acme.is_billed(9_900)
        begun = acme.mirror.billing_cycle_anchor
        assert begun is not None
        acme.agrees(plan="pro", status="active", price=9_900, until=begun.replace(month=4), used=0)
        assert len(live_subscriptions(sandbox)) == 1
