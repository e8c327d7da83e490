"""What an address of the back office may hold that no column can: answered, never a fault.

Anybody may type an address, and Django takes its filters and keys to the database as
they are: a year 0, a NUL, a text where a number stands, a pattern for a hash.
"""

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import BadRequest, FieldError, SuspiciousOperation, ValidationError
from django.db import DataError, NotSupportedError, OperationalError, ProgrammingError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from psycopg.errors import QueryCanceled

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django.contrib.admin.views.main import ChangeList
else:
    from unfold.views import ChangeList

    ModelAdmin = object

TOO_LONG = "The database took too long over this. Name an organisation to narrow it down."
NOT_VALID = "The search held something that cannot be stored, so nothing can match it."

#: What a value raises on its way to a column that cannot hold it, before the database sees it
#: (datetime(0, 1, 1), int("x")) or there (no operator compares the two).
_UNFIT = (
    *(ArithmeticError, LookupError, TypeError, ValueError),
    *(FieldError, ValidationError, NotSupportedError, ProgrammingError),
)


class FilteredList(ChangeList):
    """A list whose filters may make no sense: then it is the list without them (`?e=1`)."""

    def get_filters(self, request: HttpRequest) -> Any:
        """Read the filters. Raises IncorrectLookupParameters."""
        try:
            return super().get_filters(request)
        except _UNFIT as error:
            raise IncorrectLookupParameters(error) from error

    def get_results(self, request: HttpRequest) -> None:
        """Ask the database. Raises IncorrectLookupParameters where the filters are to blame."""
        try:
            super().get_results(request)
        except _UNFIT as error:
            if not self.filter_params:
                raise
            raise IncorrectLookupParameters(error) from error


class AnyAddress(ModelAdmin):  # type: ignore[type-arg]
    """Pages of a table that answer whatever their address holds."""

    def get_changelist(self, request: HttpRequest, **more: Any) -> type[ChangeList]:
        """Return the list that survives its filters."""
        return FilteredList

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """Return the row of a key; None where no row can have it."""
        try:
            return self.find_row(request, object_id, from_field)
        except (*_UNFIT, DataError):
            return None

    def find_row(self, request: HttpRequest, object_id: str, from_field: str | None) -> Any:
        """Look the row up."""
        return super().get_object(request, object_id, from_field)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list. A search that the database gave up on is a sentence, not a fault."""
        self._refuse_keys(request.POST.getlist(ACTION_CHECKBOX_NAME))
        try:
            return super().changelist_view(request, extra_context)
        except OperationalError as error:
            if not (request.GET and isinstance(error.__cause__, QueryCanceled)):
                raise
            messages.error(request, TOO_LONG)
        except DataError:
            messages.error(request, NOT_VALID)
        return HttpResponseRedirect(request.path)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show or save one row. What the database cannot hold is refused, not a fault."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except DataError:
            raise BadRequest("A value cannot be stored") from None

    def _refuse_keys(self, keys: list[str]) -> None:
        """Raise SuspiciousOperation for chosen rows that no row can be."""
        try:
            for key in keys:
                self.opts.pk.to_python(key)
        except ValidationError:
            raise SuspiciousOperation("A chosen row has no such key") from None
