"""How the back office writes numbers and links."""

import math
from datetime import datetime

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from billing.money import money

register = template.Library()
register.filter("money", money)


@register.filter
def units(value: int | float) -> str:
    """Write a number with its thousands set apart."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


@register.filter
def percent(value: float) -> str:
    """Write a share that is given in percent, rounded down: 100 is said of the whole alone."""
    return f"{math.floor(value)} %" if value >= 1 or value == 0 else f"{value:.1f} %"


@register.filter
def css_percent(value: float) -> str:
    """Write a share as CSS takes it, whatever the language of the page."""
    return f"{value:.1f}%"


@register.filter
def until(at: datetime, now: datetime) -> str:
    """Write how far `at` is from `now`: in 3 days, or 2 hours ago."""
    if at >= now:
        return f"in {timesince(now, at)}"
    return f"{timesince(at, now)} ago"


@register.simple_tag
def organisation_link(org_id: str, name: str = "") -> SafeString:
    """Link to an organisation's page by its name, or its id where there is none."""
    url = reverse("organisation", args=[org_id])
    return format_html('<a class="text-link" href="{}">{}</a>', url, name or org_id)
