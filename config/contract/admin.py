"""Pages that show and never change: the base of every admin page of ours.

Tables of ours are written by services, which hold the rules; a form would go
past them. So no role, superuser included, may add, change or delete here.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django.contrib import admin
from django.contrib.admin.options import ShowFacets
from django.core.paginator import Paginator
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from config.contract.admin_addresses import AnyAddress
from config.contract.models import Installation, KeyedRequest

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, TabularInline
else:
    from unfold.admin import ModelAdmin, TabularInline

#: What a member of staff may do about a row: told by the back office, which knows all rooms.
Offers = Callable[[Any, Any], "list[Any]"]
_offers: list[Offers] = []


def offer_acts(offers: Offers) -> None:
    """Let every row's page offer what `offers(user, row)` returns: objects with label and url."""
    _offers[:] = [offers]


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than staff would ever turn the pages.

    `count(*)` over a ledger of millions reads all of it, for a number nobody needs.
    """

    MOST = 10_000

    @cached_property
    def count(self) -> int:
        """Rows that can be paged through: 10,000 at most. Search finds the others."""
        rows = cast("QuerySet[Any]", self.object_list)
        return rows.order_by()[: self.MOST].count()


class ReadOnly:
    """Nobody adds, changes or deletes; who holds the view permission reads."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False


class ReadOnlyAdmin(ReadOnly, AnyAddress, ModelAdmin):  # type: ignore[type-arg]
    """A table to look at: searched by whole ids, paged without counting it all."""

    #: A unique field that a page's address may hold instead of the primary key.
    known_by: ClassVar[str] = ""
    #: Fields that no page shows, besides every binary one (those are hashes).
    hidden: tuple[str, ...] = ()
    #: What a page shows beyond the columns.
    extra_fields: ClassVar[tuple[str, ...]] = ()
    #: What an export has beyond the columns that may be seen: of the row, or of this page.
    export_columns: ClassVar[tuple[str, ...]] = ()

    actions: Any = None
    change_form_outer_before_template = "admin/acts/offers.html"
    list_per_page = 50
    list_max_show_all = 0
    list_fullwidth = True
    # Newest first by primary key: the one order every table has an index for.
    ordering: ClassVar[tuple[str, ...]] = ("-pk",)
    sortable_by: ClassVar[tuple[str, ...]] = ()
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = ShowFacets.NEVER

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return every column that may be seen, then the extra fields."""
        seen = [
            field.name
            for field in self.opts.concrete_fields
            if field.name not in self.hidden and not isinstance(field, models.BinaryField)
        ]
        return [*seen, *self.extra_fields]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return them all."""
        return self.get_fields(request, obj)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Filter by what the page shows, and by whole values of it.

        A hidden column, or a part of a document, could be guessed letter by letter.
        """
        name = lookup.partition("__")[0]
        for field in self.opts.concrete_fields:
            if name in (field.name, field.attname) and (
                field.name in self.hidden
                or isinstance(field, models.BinaryField | models.JSONField)
            ):
                return False
        return super().lookup_allowed(lookup, value, request)

    def find_row(self, request: HttpRequest, object_id: str, from_field: str | None) -> Any:
        """Find a row by its primary key, or by the id the outside world knows it by."""
        if self.known_by and not object_id.isdigit():
            row = self.get_queryset(request).filter(**{self.known_by: object_id}).first()
            if row is not None:
                return row
        return super().find_row(request, object_id, from_field)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one row and what may be done about it.

        Without Django's own history: forms never wrote any of it.
        """
        row = self.get_object(request, object_id) if object_id and _offers else None
        found = [one for offers in _offers for one in offers(request.user, row)] if row else []
        context = {"show_history": False, "offers": found, **(extra_context or {})}
        return super().changeform_view(request, object_id, form_url, context)


class OrgAdmin(ReadOnlyAdmin):
    """A table whose rows belong to an organisation.

    A word `org_…` in a search names an organisation and nothing else, so that it
    can use the index; each page links to everything else of its organization.
    """

    #: Where the organisation's id stands, as a lookup.
    org_lookup: ClassVar[str] = "org_id"

    extra_fields: ClassVar[tuple[str, ...]] = ("elsewhere",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the columns with the organisation's id as a link."""
        fields = super().get_fields(request, obj)
        return ["organization" if name == "org_id" else name for name in fields]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Narrow to the organisations named, then search what is left as usual."""
        words = search_term.split()
        orgs = [word for word in words if word.startswith("org_")]
        if orgs:
            queryset = queryset.filter(**{f"{self.org_lookup}__in": orgs})
        rest = " ".join(word for word in words if not word.startswith("org_"))
        return super().get_search_results(request, queryset, rest)

    @admin.display(description="organisation")
    def organization(self, obj: Any) -> SafeString:
        """The organisation, as a link to all there is of it."""
        return org_link(self.org_of(obj))

    @admin.display(description="elsewhere")
    def elsewhere(self, obj: Any) -> SafeString:
        """Links to the other tables, each narrowed to this organisation."""
        return format_html_join(" · ", '<a class="text-link" href="{}">{}</a>', self._others(obj))

    def org_of(self, obj: Any) -> str:
        """Return the id of the row's organization."""
        for step in self.org_lookup.split("__"):
            obj = getattr(obj, step)
        return str(obj)

    def _others(self, obj: Any) -> Iterator[tuple[str, str]]:
        for model, page in self.admin_site._registry.items():
            if isinstance(page, OrgAdmin) and page is not self:
                name = model._meta.label_lower.replace(".", "_")
                url = reverse(f"admin:{name}_changelist")
                yield f"{url}?q={self.org_of(obj)}", plural(model)


class ReadOnlyInline(ReadOnly, TabularInline):  # type: ignore[type-arg]
    """Rows of another table on a page, to look at."""

    extra = 0
    max_num = 0
    can_delete = False
    hide_title = True

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return them all."""
        return self.fields or ()


def page_link(page: str, key: str) -> SafeString:
    """Return a link to a row's page; `page` is `app_model`, `key` what the row is known by."""
    if not key:
        return SafeString("-")
    url = reverse(f"admin:{page}_change", args=[key])
    return format_html('<a class="text-link" href="{}">{}</a>', url, key)


def org_link(org_id: str) -> SafeString:
    """Return a link to the page of an organisation (config.backoffice.organisation)."""
    if not org_id:
        return SafeString("-")
    url = reverse("organisation", args=[org_id])
    return format_html('<a class="text-link" href="{}">{}</a>', url, org_id)


def badge(field: str, colours: Mapping[str, str]) -> Callable[[Any], Any]:
    """Return a column that shows a state in its colour: success, info, warning or danger."""

    def column(obj: Any) -> Any:
        value = getattr(obj, field)
        shown = getattr(obj, f"get_{field}_display", lambda: value)()
        return value, shown

    column.__name__ = field
    column.short_description = field.replace("_", " ")  # type: ignore[attr-defined]
    column.label = dict(colours)  # type: ignore[attr-defined]
    return column


def units(field: str) -> Callable[[Any], str]:
    """Return a column of units with its thousands set apart."""

    def column(obj: Any) -> str:
        return f"{getattr(obj, field):,}"

    column.__name__ = field
    column.short_description = field.replace("_", " ")  # type: ignore[attr-defined]
    return column


def tracked_by(model: type[models.Model]) -> type[models.Model]:
    """Return the table whose history this one is, or itself where it is none."""
    tracked: type[models.Model] = getattr(model, "pgh_tracked_model", model)
    return tracked


def plural(model: type[models.Model]) -> str:
    """Return what staff call a table: usage counters, or entitlement history."""
    tracked = tracked_by(model)
    if tracked is model:
        return str(model._meta.verbose_name_plural)
    return f"{tracked._meta.verbose_name} history"


@admin.register(Installation)
class InstallationAdmin(ReadOnlyAdmin):
    """The one row of installation-wide facts."""

    list_display = ("__str__", "copy_epoch", "clock_offset_seconds")


@admin.register(KeyedRequest)
class KeyedRequestAdmin(ReadOnlyAdmin):
    """Answers of staff's requests under a key, for 24 hours. Neither keys nor answers are shown."""

    hidden = ("response",)
    list_display = ("pk", "scope", "status", "created_at")
    list_filter = ("status",)
    search_fields = ("scope__startswith",)
    search_help_text = "The beginning of the scope"
    date_hierarchy = "created_at"
