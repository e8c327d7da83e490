"""An explanation in sentences. Free of names of staff and their reasons: customers read them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from usage.explaining.rule import Rule
from usage.explaining.shape import Explanation, Figures, Standing

_ENDS = {
    "trialing": "The trial's grace ends, and access with it.",
    "past_due": "The grace for an overdue payment ends, and access with it.",
    "cancellation": "The cancellation takes effect, and access ends.",
}
_WHY_NOT = {
    Rule.NOTHING_GRANTED: "nothing had been granted to the organisation",
    Rule.TRIAL_OVER: "the trial and its grace were over",
    Rule.PAST_DUE_TOO_LONG: "a payment was overdue for longer than its grace",
    Rule.CANCELLATION_DUE: "a cancellation had taken effect",
    Rule.NOTHING_SOLD: "it was dated into a period in which nothing of this was sold",
    Rule.SUSPENDED: "the organisation was suspended",
}


def sentences(explanation: Explanation) -> list[str]:
    """Return the explanation as sentences, the answer first."""
    said = [verdict(explanation), *_numbers(explanation)]
    if explanation.standing is not None:
        said += _subscription(explanation.standing, _be(explanation))
    if explanation.suspended is not None:
        said.append(f"The organisation was suspended on {instant(explanation.suspended.since)}.")
    elif not explanation.happened:
        said.append(f"The organisation {_be(explanation)} not suspended.")
    said += _use(explanation)
    said.append(_until(explanation))
    return [one for one in [*said, *explanation.gaps] if one]


def verdict(explanation: Explanation) -> str:
    """Return the answer and the rule that gave it, in one sentence."""
    asked = f"{units(explanation.value)} of {explanation.metric}"
    figures = explanation.figures
    if explanation.rule is Rule.NOT_KNOWN:
        return f"Whether {asked} would have been allowed then is not known any more."
    if explanation.use is not None:
        how = " past the included units, which the plan allows" if _over(explanation) else ""
        return f"Counted: {asked}{how}."
    if explanation.rule.allows:
        may = "may be used" if explanation.is_now else "might be used"
        if explanation.rule is Rule.OVERAGE_ALLOWED:
            return f"Allowed: {asked} {may} past the included units, as the plan says."
        return f"Allowed: {asked} {may}, within what is included."
    was = "Denied" if explanation.happened else "It would be denied"
    if not (explanation.happened or explanation.is_now):
        was = "It would have been denied" if explanation.at < explanation.now else was
    if explanation.rule is Rule.SPENT:
        return f"{was}: all included units of {explanation.metric} {_were(explanation)} used."
    if explanation.rule is Rule.MORE_THAN_REMAINING and figures is not None:
        left = units(figures.remaining or 0)
        return f"{was}: {asked} asked for, and {left} left."
    if explanation.rule is Rule.STATUS_NOT_VALID and explanation.standing is not None:
        return f"{was}: a subscription that is {status(explanation.standing)} gives no access."
    reason = _WHY_NOT.get(explanation.rule, "there was no valid subscription")
    return f"{was}: {reason}."


def table(explanation: Explanation) -> list[tuple[str, str]]:
    """Return the numbers as (name, value), for a table."""
    figures, rows = explanation.figures, [("organisation", explanation.org_id)]
    rows += [("metric", explanation.metric), ("rule", explanation.rule.word)]
    rows += [("code", explanation.rule.code or "none"), ("decided by", explanation.decided_by)]
    if figures is None:
        return rows
    known: list[tuple[str, int | None]] = [
        ("included by the plan", figures.planned),
        ("adjusted by staff", figures.adjusted),
        ("included", figures.included),
        ("forgiven by resets", figures.forgiven),
        ("used", figures.used),
        ("remaining", figures.remaining),
        ("asked for", explanation.value),
    ]
    rows += [(name, "not known" if one is None else f"{one:,}") for name, one in known]
    rows += [("more than included", "allowed, and charged" if figures.goes_on else "denied")]
    return [*rows, ("period", figures.period.key), ("next period", instant(figures.period.end))]


def changes(older: Any, newer: Any) -> Iterator[str]:
    """Return what one change of an entitlement changed, in sentences."""
    if older is None or newer.pgh_label == "insert":
        yield f"Granted: plan {newer.plan_code}, {status_word(newer.status)}."
        return
    if older.plan_code != newer.plan_code:
        yield f"The plan changed from {older.plan_code} to {newer.plan_code}."
    if older.status != newer.status:
        was, became = status_word(older.status), status_word(newer.status)
        yield f"The subscription changed from {was} to {became}."
    if older.allowances != newer.allowances and older.plan_code == newer.plan_code:
        yield f"What the plan {newer.plan_code} includes changed."
    if (older.scheduled_plan_code, older.scheduled_at) != (
        newer.scheduled_plan_code,
        newer.scheduled_at,
    ):
        if newer.scheduled_at is not None:
            when = instant(newer.scheduled_at)
            yield f"A change to {newer.scheduled_plan_code} was scheduled for {when}."
        elif older.plan_code == newer.plan_code:
            yield f"The change to {older.scheduled_plan_code} was called off."
    if older.ends_at != newer.ends_at:
        if newer.ends_at is not None:
            yield f"The subscription was set to end on {instant(newer.ends_at)}."
        elif older.status == newer.status:
            yield "The end of the subscription was called off."
    if older.trial_ends_at != newer.trial_ends_at and newer.trial_ends_at is not None:
        yield f"The trial was set to end on {instant(newer.trial_ends_at)}."


def access_ends(standing: Standing) -> str:
    """Return what ends access by itself."""
    return _ENDS.get(standing.ends_by, "Access ends.")


def status(standing: Standing) -> str:
    """Return the state of a subscription as a word."""
    return status_word(standing.status)


def status_word(code: str) -> str:
    """Return Stripe's word for a state, as one reads it."""
    return code.replace("_", " ")


def units(number: int) -> str:
    """Return a number of units with its thousands set apart."""
    return "1 unit" if number == 1 else f"{number:,} units"


def instant(at: datetime) -> str:
    """Return an instant in UTC, seconds only where it has some."""
    at = at.astimezone(UTC)
    clock = f"{at:%H:%M:%S}" if at.second or at.microsecond else f"{at:%H:%M}"
    return f"{at.day} {at:%b %Y} {clock} UTC"


def _over(explanation: Explanation) -> bool:
    return explanation.rule is Rule.OVERAGE_ALLOWED


def _numbers(explanation: Explanation) -> Iterator[str]:
    figures = explanation.figures
    if figures is None:
        return
    period = figures.period
    span = f"Period {period.key} ({instant(period.start)} to {instant(period.end)})"
    includes = "includes" if explanation.is_now else "included"
    yield f"{span} {includes} {units(figures.included)}{_made_of(figures)}."
    if figures.used is None:
        return
    be = _be(explanation) if figures.used == 1 else _were(explanation)
    used = f"{units(figures.used)} {be} used"
    if explanation.use is not None:
        used += " with this one"
    if figures.forgiven:
        used += f" after a reset took {figures.forgiven:,} off the books"
    left = figures.remaining
    if figures.used > figures.included:
        yield f"{used}: {figures.used - figures.included:,} more than included."
    else:
        yield f"{used} and {left:,} {'remain' if explanation.is_now else 'remained'}."


def _made_of(figures: Figures) -> str:
    if not figures.adjusted or figures.planned is None:
        return ""
    way = "granted" if figures.adjusted > 0 else "taken away"
    return f": {figures.planned:,} by the plan, {abs(figures.adjusted):,} {way} by staff"


def _be(explanation: Explanation) -> str:
    return "is" if explanation.is_now else "was"


def _were(explanation: Explanation) -> str:
    return "are" if explanation.is_now else "were"


def _subscription(standing: Standing, be: str) -> Iterator[str]:
    because = f", set by {standing.because}" if standing.because else ""
    yield (
        f"The plan {be} {standing.plan_code}; the subscription {be} {status(standing)}"
        f" since {instant(standing.since)}{because}."
    )
    if standing.scheduled_at is not None:
        when = instant(standing.scheduled_at)
        yield f"A change to {standing.scheduled_plan} is scheduled for {when}."


def _use(explanation: Explanation) -> Iterator[str]:
    use = explanation.use
    if use is None:
        if explanation.also_counted is not None:
            yield "The same id was counted before: a repeat of it is answered, not counted."
        return
    yield "Every repeat of this request_id is answered with the same numbers and counts nothing."
    if use.void is not None:
        yield f"It was taken back on {instant(use.void.voided_at)}: it no longer counts."
    if use.twins:
        others = ", ".join(use.twins)
        yield (
            "Counted beside it, with the same metric, value and instant under other ids, which may"
            f" be the same use reported twice: {others}."
        )


def _until(explanation: Explanation) -> str:
    standing, figures = explanation.standing, explanation.figures
    if explanation.rule in (Rule.SPENT, Rule.MORE_THAN_REMAINING) and figures is not None:
        return f"It ends with the period, on {instant(figures.period.end)}, or with a larger plan."
    if explanation.rule is Rule.SUSPENDED:
        return "It ends when the organisation is restored."
    if explanation.rule.code is not None:
        return "It ends when the organisation has a valid subscription again."
    if standing is not None and standing.ends_at is not None and standing.has_access:
        return f"{access_ends(standing)[:-1]} on {instant(standing.ends_at)}."
    return ""
