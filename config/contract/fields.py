"""Kinds of fields that several routes share, as the OpenAPI document describes them.

The kinds of answers only describe: what we send is not checked again on its way out.
"""

from typing import Annotated, Any

from msgspec import Meta


def described(**schema: Any) -> Meta:
    """Return what the document says of a field of an answer, beside its type."""
    return Meta(extra_json_schema=schema)


# --- What clients send ----------------------------------------------------------

#: Whose data it is: an organisation's own token acts for it alone.
NamedOrg = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=30,
        description="The organisation to act for.",
        examples=["org_01KAPM3Q5M8Y2V4T6R8W0Z1X3C"],
    ),
]
MetricCode = Annotated[
    str, Meta(min_length=1, max_length=64, description="A metric's code.", examples=["api_call"])
]
GivenInstant = Annotated[
    str,
    Meta(
        description="RFC 3339 with an offset, at most microseconds.",
        max_length=40,
        extra_json_schema={"format": "date-time"},
    ),
]

# --- What we answer -------------------------------------------------------------

OrgId = Annotated[str, described(pattern="^org_[0-9A-HJKMNP-TV-Z]{26}$")]
Instant = Annotated[str, described(format="date-time", pattern="Z$")]
Date = Annotated[str, described(format="date")]
Url = Annotated[str, described(format="uri")]
Currency = Annotated[str, described(pattern="^[a-z]{3}$")]
PeriodKey = Annotated[
    str,
    described(
        pattern="^[0-9]{4}-[0-9]{2}(-[0-9]{2})?$",
        description="A calendar month, or the day on which a billing period begins.",
    ),
]
Overage = Annotated[str, described(enum=["block", "allow"])]
Status = Annotated[
    str,
    described(
        enum=[
            "trialing",
            "active",
            "past_due",
            "canceled",
            "unpaid",
            "incomplete",
            "incomplete_expired",
            "paused",
        ]
    ),
]
Remaining = Annotated[int, described(minimum=0)]
