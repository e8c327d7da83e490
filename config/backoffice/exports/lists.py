"""A list of the admin as rows: what its reader sees under these filters, page by page."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest
from django.test import RequestFactory

#: Columns that leave by no door, by what they are called; hashes are binary and leave by none.
_NEVER = re.compile(r"(?i)pass(word|wd)|secret|token$|_hash|payload|signature")
PAGE = 2_000

Page = tuple[list[list[Any]], Any]


class ExportedList:
    """A list, its filters, and who reads it. Raises Http404, PermissionDenied or ValueError."""

    def __init__(self, listed: str, request: HttpRequest) -> None:
        try:
            model = apps.get_model(listed)
            self.page: Any = admin.site._registry[model]
        except (LookupError, ValueError):
            raise Http404 from None
        if not self.page.has_view_permission(request):
            raise PermissionDenied
        try:
            self.rows: models.QuerySet[Any] = self.page.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            raise ValueError("These filters make no sense") from None
        self.model = model
        self.columns = columns_of(self.page)
        self.computed = bool(getattr(self.page, "export_columns", ()))

    @property
    def title(self) -> str:
        """What the list is called."""
        return str(self.model._meta.verbose_name_plural)

    def is_longer_than(self, most: int) -> bool:
        """Tell whether there are more than `most` rows, counting no further."""
        return self.rows.order_by()[: most + 1].count() > most

    def pages(self, *, after: Any = None) -> Iterator[Page]:
        """Yield pages of rows, newest first by key, from below the key `after` on; each with its
        last key. What is added meanwhile is above the first key and not among them."""
        rows = self.rows.order_by("-pk")
        while True:
            page = (rows if after is None else rows.filter(pk__lt=after))[:PAGE]
            found = list(self._read(page))
            if not found:
                return
            after = found[-1][1]
            yield [row for row, _ in found], after
            if len(found) < PAGE:
                return

    def _read(self, page: models.QuerySet[Any]) -> Iterator[tuple[list[Any], Any]]:
        """Yield rows with their keys; without making models of them where columns will do."""
        if not self.computed:
            for key, *row in page.values_list("pk", *self.columns):
                yield row, key
            return
        for row in page:
            yield [self._value(row, name) for name in self.columns], row.pk

    def _value(self, row: Any, name: str) -> Any:
        computed = getattr(self.page, name, None)
        return computed(row) if callable(computed) else getattr(row, name)


def columns_of(page: Any) -> list[str]:
    """Return what an export of a list has: the columns that may be seen, and what it adds."""
    hidden = getattr(page, "hidden", ())
    columns = [
        field.attname
        for field in page.opts.concrete_fields
        if not (
            field.name in hidden
            or isinstance(field, models.BinaryField)
            or _NEVER.search(field.name)
        )
    ]
    more: Sequence[str] = getattr(page, "export_columns", ())
    return [*columns, *more]


def reader(user: AbstractBaseUser, query: str) -> HttpRequest:
    """Return the request that `user` would read a list with, for a worker."""
    request: Any = RequestFactory().get("/", QUERY_STRING=query)
    request.user = user
    return request  # type: ignore[no-any-return]
