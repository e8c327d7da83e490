"""Many at once: one customer's requests follow each other, keys run once."""

from concurrent.futures import ThreadPoolExecutor

from billing.stripe_gateway import StripeGateway
from config.contract.errors import Unavailable
from tests.sandbox.cast import Subscriber
from tests.sandbox.server import DAY, Control


def test_one_key_upgrades_once_however_many_send_it(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber
) -> None:
    made = subscriber.subscribe_now("starter")
    at = sandbox.advance(days=3)
    price, item = subscriber.price("pro"), made["items"]["data"][0]["id"]

    def change(_: int) -> str:
        while True:
            try:
                changed = gateway.change_subscription(
                    subscription_id=made["id"],
                    item_id=item,
                    price_id=price,
                    proration_date=at,
                    idempotency_key="upgrade",
                )
            except Unavailable:
                continue  # in flight: what Retry-After asks for
            invoice: str = changed["latest_invoice"]["id"]
            return invoice

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(change, range(20)))

    assert len(answers) == 1
    assert len(subscriber.invoices()) == 2


def test_changes_of_one_customer_follow_each_other(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber
) -> None:
    made = subscriber.subscribe_now("starter")
    at = sandbox.advance(days=3)

    def change(plan: str) -> None:
        subscriber.change(made, plan, proration_date=at)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(change, ["pro", "business", "starter"] * 4))

    # Whatever the order was, each invoice starts where the one before it ended.
    now = gateway.retrieve_subscription(subscription_id=made["id"])
    prices = [subscriber.price("starter")]
    for invoice in reversed(subscriber.invoices()[:-1]):
        lines = invoice["lines"]["data"]
        old, new = (line["pricing"]["price_details"]["price"] for line in lines)
        assert old == prices[-1]
        prices.append(new)
    assert now["items"]["data"][0]["price"]["id"] == prices[-1]
    numbers = [invoice["number"] for invoice in subscriber.invoices()]
    assert len(set(numbers)) == len(numbers)


def test_time_may_move_while_requests_come_in(sandbox: Control, gateway: StripeGateway) -> None:
    crowd = [Subscriber(gateway) for _ in range(6)]
    made = [one.subscribe_now("starter") for one in crowd]

    def upgrade(number: int) -> None:
        crowd[number].change(made[number], "pro")

    with ThreadPoolExecutor(8) as pool:
        moving = pool.submit(sandbox.advance, days=62)
        list(pool.map(upgrade, range(6)))
        moving.result()
    sandbox.advance(hours=2)

    now = sandbox.now()
    for one in gateway.list_events(types=["invoice.paid"])["data"]:
        assert one["created"] <= now
    for subscriber, subscription in zip(crowd, made, strict=True):
        after = gateway.retrieve_subscription(subscription_id=subscription["id"])
        [item] = after["items"]["data"]
        assert item["current_period_start"] <= now < item["current_period_end"]
        assert item["price"]["lookup_key"] == "pro"
        assert {status for _, status in subscriber.invoiced()} == {"paid"}
    assert now - made[0]["created"] >= 62 * DAY
