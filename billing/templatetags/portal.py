"""How the portal's templates write numbers and dates."""

from django import template

from billing import text

register = template.Library()
register.filter("units", text.units)
register.filter("day", text.day)
register.filter("short_day", text.short_day)
