"""What the admin's pages load of ours, served from here."""

from django.http import HttpRequest
from django.templatetags.static import static


def stylesheet(request: HttpRequest) -> str:
    """Return where the stylesheet is."""
    return static("backoffice/admin.css")


def icon(request: HttpRequest) -> str:
    """Return where the icon is."""
    return static("backoffice/icon.svg")
