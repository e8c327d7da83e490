"""Pages of the history tables: every change of a row, and why it was made."""

from typing import Any, cast

import pghistory.models
from django.apps import apps
from django.contrib import admin
from django.db import models

from config.contract.admin import OrgAdmin, ReadOnlyAdmin, tracked_by


class Changes(ReadOnlyAdmin):
    """Every change of the rows of another table, and why it was made."""

    list_display: tuple[Any, ...] = ("at", "what", "why", "who", "request_id")
    search_fields = ("pgh_label__exact",)
    search_help_text = "Insert, update or delete"

    def __init__(self, model: type[models.Model], admin_site: admin.AdminSite) -> None:
        super().__init__(model, admin_site)
        # What the page of a row hides, its history hides too.
        self.hidden = cast(Any, admin_site._registry[tracked_by(model)]).hidden

    @admin.display(description="at")
    def at(self, obj: Any) -> Any:
        """When the database made the change."""
        return obj.pgh_created_at

    @admin.display(description="what")
    def what(self, obj: Any) -> str:
        """Insert, update or delete, and of which row."""
        return f"{obj.pgh_label} {obj.pgh_obj_id}"

    @admin.display(description="why")
    def why(self, obj: Any) -> str:
        """The reason given by the code that did it."""
        return _context(obj, "why")

    @admin.display(description="who")
    def who(self, obj: Any) -> str:
        """The member of staff, where one did it."""
        return _context(obj, "who")

    @admin.display(description="request id")
    def request_id(self, obj: Any) -> str:
        """The request that did it."""
        return _context(obj, "request_id")


class HistoryAdmin(Changes, OrgAdmin):
    """The changes of rows that belong to an organisation."""

    list_display = ("at", "what", "organization", "why", "who", "request_id")
    search_help_text = "Organisation id; insert, update or delete"


def history_of(app_label: str) -> list[type[models.Model]]:
    """Return the history tables of an app's tables."""
    return [
        model
        for model in apps.get_app_config(app_label).get_models()
        if issubclass(model, pghistory.models.Event)
    ]


def _context(obj: Any, name: str) -> str:
    return str((obj.pgh_context or {}).get(name) or "-")
