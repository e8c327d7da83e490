"""When a quota runs out at this pace. Pure.

The pace is the use of the last seven days, divided by how long that is: long
enough for a weekday and a weekend, short enough to see a new customer grow.
Before a whole day has passed there is no pace to speak of.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from billing.text import day, units, weekday

#: How many whole days before today count into the pace, with what today has so far.
WINDOW_DAYS = 6
SHORTEST = timedelta(days=1)

Kind = Literal["nothing", "spent", "early", "idle", "runs_out", "lasts"]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to be expected. `at` is when it runs out; `by_reset` the use by the reset."""

    kind: Kind
    pace: int = 0
    by_reset: int = 0
    at: datetime | None = None


def forecast(
    *,
    included: int,
    used: int,
    recent: int,
    since: datetime,
    now: datetime,
    resets_at: datetime,
) -> Forecast:
    """Say when `included` units run out. `recent` units were used in `[since, now)`.

    It runs out only before the reset; a pace that would meet the limit after it
    never meets it.
    """
    if included == 0:
        return Forecast("nothing")
    if used >= included:
        return Forecast("spent")
    if now - since < SHORTEST:
        return Forecast("early")
    if recent == 0:
        return Forecast("idle")
    per_second = recent / (now - since).total_seconds()
    pace = round(per_second * 86_400)
    seconds_left = (included - used) / per_second
    until_reset = (resets_at - now).total_seconds()
    by_reset = used + round(per_second * until_reset)
    if seconds_left >= until_reset:
        return Forecast("lasts", pace=pace, by_reset=min(by_reset, included))
    at = now + timedelta(seconds=seconds_left)
    return Forecast("runs_out", pace=pace, by_reset=by_reset, at=at)


def sentence(found: Forecast, *, resets_at: datetime, charged: bool) -> str:
    """Write a forecast out. `charged`: use past what is included goes on, at a price."""
    reset = day(resets_at)
    match found.kind:
        case "nothing":
            return "Your plan does not include this."
        case "spent" if charged:
            return "Used up. Use goes on, at the plan's price for more."
        case "spent":
            return f"Used up: requests are denied until the reset on {reset}."
        case "early":
            return "Too early to tell how long it lasts: a forecast needs a day of use."
        case "idle":
            return "No use in the last 7 days."
        case "lasts":
            by = f"about {units(found.by_reset)} used by then"
            return f"At this pace it does not run out before the reset on {reset}: {by}."
        case "runs_out":
            assert found.at is not None  # noqa: S101 - of this kind it has one
            then = "more is charged" if charged else "requests are denied"
            return (
                f"At this pace it runs out on {weekday(found.at)}, before the reset on {reset}:"
                f" {then} from then on."
            )
