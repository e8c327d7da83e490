"""Doors of the exports: a button above each list, and the file of a long one."""

from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import DataError, OperationalError, transaction
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.urls import path, reverse
from django.views.decorators.http import require_GET, require_POST
from psycopg.errors import QueryCanceled

from config.backoffice.export_models import Export
from config.backoffice.exports import files, service
from config.backoffice.exports.lists import ExportedList, reader
from config.backoffice.tasks import write_export
from config.contract import clock
from config.contract.doorbell import ring

CSV = "text/csv; charset=utf-8"
_LATER = "The list is long: it is being written to a file, which you find here when it is done."

_TOO_MANY = (
    f"{service.MOST_RUNNING} of your exports are still being written. Order this one when one"
    " of them is done."
)


@require_POST
def export(request: HttpRequest, app_label: str, model_name: str) -> HttpResponseBase:
    """Export a list with the filters and the search of its address."""
    user, now = _user(request), clock.real_now()
    query = request.META.get("QUERY_STRING", "")
    try:
        wanted = ExportedList(f"{app_label}.{model_name}", request)
        long = wanted.is_longer_than(settings.EXPORT_AT_ONCE)
    except (ValueError, DataError) as error:
        messages.error(request, f"Nothing was exported: {error}.")
        changelist = reverse(f"admin:{app_label}_{model_name}_changelist")
        return HttpResponseRedirect(f"{changelist}?{query}")
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        long = True  # a worker has more time than a page
    if long:
        try:
            ordered = service.order(wanted, query, user, now=now)
        except service.TooManyExports:
            messages.error(request, _TOO_MANY)
            return HttpResponseRedirect(reverse("admin:backoffice_export_changelist"))
        transaction.on_commit(lambda: ring(write_export, ordered.pk))
        messages.success(request, _LATER)
        return HttpResponseRedirect(reverse("admin:backoffice_export_change", args=[ordered.pk]))
    response = StreamingHttpResponse(
        service.stream(wanted, service.begin(wanted, query, user)), content_type=CSV
    )
    response.headers["Content-Disposition"] = f'attachment; filename="{_name(wanted.title, now)}"'
    return response


@require_GET
def download(request: HttpRequest, uuid: UUID) -> HttpResponseBase:
    """Hand the file to who ordered it, as long as they may read the list."""
    row = Export.objects.filter(uuid=uuid).first()
    if row is None:
        raise Http404
    if row.maker_id != _user(request).pk:
        raise PermissionDenied
    wanted = ExportedList(row.listed, _plainly(request))
    over = row.expires_at is None or row.expires_at <= clock.real_now()
    if row.state != Export.State.DONE or over:
        raise Http404
    try:
        file = files.path_of(row.uuid).open("rb")
    except FileNotFoundError:
        messages.error(request, "The file is not on this machine: EXPORT_DIR must be shared.")
        return HttpResponseRedirect(reverse("admin:backoffice_export_change", args=[row.pk]))
    name = _name(wanted.title, row.created_at)
    return FileResponse(file, as_attachment=True, filename=name, content_type=CSV)


def file_address(row: Export) -> str:
    """Return where the file of an export is fetched."""
    return reverse("admin:export_file", args=[row.uuid])


urlpatterns = [
    path("export/file/<uuid:uuid>/", admin.site.admin_view(download), name="export_file"),
    path(
        "export/<slug:app_label>/<slug:model_name>/",
        admin.site.admin_view(export),
        name="export",
    ),
]


def _plainly(request: HttpRequest) -> HttpRequest:
    # The permission is asked of the list; what its filters were does not matter here.
    return reader(_user(request), "")


def _name(title: str, at: datetime) -> str:
    return f"{title.replace(' ', '-').lower()}-{at:%Y-%m-%d}.csv"


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # noqa: S101 - admin_view lets nobody else in
    return request.user
