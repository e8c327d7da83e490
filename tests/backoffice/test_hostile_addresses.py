"""No address of the back office is a fault, whatever it holds."""

import itertools
from collections.abc import Callable, Iterator
from urllib.parse import quote, urlencode

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import models
from django.test import Client

from billing.models import Operation, Organization, Plan
from config.backoffice.acts.registry import ACTS
from tests.backoffice.rows import fill, org_id, our_models
from tests.backoffice.test_pages import page
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)
Staff = Callable[[str], Client]

KEYS = [
    *("\0", "a\0b", "_00", "0", "-1", "x", "²", "10e3", "NaN", "null", "None", "True"),
    *("9" * 19, "9" * 40, "1.5", "{}", "[]", "'", "%", "\ud7ff", "é" * 200, "a/b", "..", "_5F"),
    *("00000000-0000-0000-0000-00000000000g", "0001-01-01T00:00:00Z", "10000-01-01"),
]
VALUES = ["", *KEYS, "0001-01-01", "9999-12-31", "9999-12-31T23:59:59.999999+00:00", "99999"]
LOOKUPS = ("", "__exact", "__isnull", "__in", "__gt", "__contains", "__startswith", "__range")
DATES = ("__year", "__month", "__day", "__date", "__time", "__year__gte", "__week_day", "__quarter")
#: What Django's lists read besides filters.
OTHERS = ("p", "o", "all", "q", "e", "_to_field", "_popup", "_facets", "_changelist_filters", "\0")


#: Known by a number, by a text, by a UUID; and two that are not read-only.
_EACH_KEY = (Organization, Plan, Operation, User, Group)


def pages() -> list[type[models.Model]]:
    return [*our_models(), User, Group]


def filters(model: type[models.Model], seen: set[type]) -> Iterator[dict[str, str]]:
    """Filters of a list: for the first column of its kind each lookup and value, in turns."""
    for field in model._meta.concrete_fields:
        if type(field) in seen:
            continue
        seen.add(type(field))
        values = itertools.cycle(VALUES)
        for lookup in LOOKUPS:
            yield from ({f"{field.name}{lookup}": next(values)} for _ in range(3))
        if isinstance(field, models.DateField):
            yield from ({f"{field.name}{lookup}": value} for lookup in DATES for value in "0x")
    hierarchy = admin.site._registry[model].date_hierarchy
    if hierarchy:
        yield {f"{hierarchy}__year": "9999"}
        yield {f"{hierarchy}__year": "9999", f"{hierarchy}__month": "12"}
        yield {f"{hierarchy}__year": "9999", f"{hierarchy}__month": "12", f"{hierarchy}__day": "31"}
        yield {f"{hierarchy}__month": "x"}
    binary = [
        one.name for one in model._meta.concrete_fields if isinstance(one, models.BinaryField)
    ]
    yield from ({f"{name}{lookup}": "x"} for name in binary for lookup in ("", "__contains"))
    yield {"q": "\0"}


def faults(client: Client, urls: list[str]) -> dict[str, int]:
    """Return what is answered with a fault."""
    client.raise_request_exception = False
    answers = {url: client.get(url).status_code for url in urls}
    return {url: status for url, status in answers.items() if status >= 500}


def test_a_list_takes_any_filter(staff: Staff) -> None:
    fill(1)
    seen: set[type] = set()
    urls = [
        f"{page(model, 'changelist')}?{urlencode(query)}"
        for model in pages()
        for query in filters(model, seen)
    ]
    urls += [
        f"{page(model, 'changelist')}?{urlencode({name: value})}"
        for model in (WebhookEvent, User)
        for name in OTHERS
        for value in ("\0", "x", "-1", "9" * 40)
    ]

    assert faults(staff("superuser"), urls) == {}


def test_a_row_takes_any_key(staff: Staff) -> None:
    urls = [
        f"{page(model, 'changelist')}{quote(key, safe='')}/{end}"
        for model in pages()
        for end in ("change/", "history/", "delete/", "password/")
        for key in (KEYS if (model in _EACH_KEY and end == "change/") else ("_00",))
    ]

    assert faults(staff("superuser"), urls) == {}


def test_every_other_page_takes_any_address(staff: Staff) -> None:
    fill(1)
    org = org_id(0)
    nul = quote("\0")
    far = ("9999-12-31", "9999-12-31 23:59:59", "0001-01-01 00:00", "9998-12-01", "x", "\0")
    urls = [
        *(f"/admin/explain/?{urlencode({'id': key})}" for key in KEYS[:3]),
        *(
            f"/admin/explain/?{urlencode({'org': org, 'metric': 'api_call', 'at': at})}"
            for at in far
        ),
        f"/admin/explain/?org={nul}&metric={nul}",
        *(f"/admin/organisations/{quote(key, safe='')}/" for key in KEYS[:4]),
        *(
            f"/admin/organisations/{org}/?{urlencode(query)}"
            for at in far
            for query in ({"days": "9" * 40}, {"from": at, "to": at}, {"to": at}, {"from": at})
        ),
        *(f"/admin/acts/{name}/?org_id={nul}&metric={nul}" for name in ACTS),
        f"/admin/acts/{nul}/",
        f"/admin/find/?term={nul}",
        f"/admin/search/?s={nul}",
        f"/admin/export/file/{nul}/",
        f"/admin/{nul}/",
        *(f"/admin/r/{kind}/{nul}/" for kind in ("1", "x", "9" * 40, nul)),
        f"/admin/login/?next={nul}",
        f"/admin/jsi18n/?x={nul}",
        f"/static/{nul}",
        f"/portal/{nul}",
        f"/{nul}",
    ]

    assert faults(staff("superuser"), urls) == {}


@pytest.mark.parametrize(
    "query",
    [
        "app_label=auth&model_name=group&field_name=user&term=",
        "app_label=auth&model_name=user&field_name=groups&term=%00",
        "app_label=x&model_name=%00&field_name=x",
        "",
    ],
)
def test_nothing_is_completed_while_one_types(staff: Staff, query: str) -> None:
    assert staff("superuser").get(f"/admin/autocomplete/?{query}").status_code == 404


def test_a_list_with_a_filter_that_makes_no_sense_is_the_list(staff: Staff) -> None:
    fill(1)

    response = staff("auditor").get("/admin/webhooks/webhookevent/?created_at__year=0", follow=True)

    assert response.redirect_chain == [("/admin/webhooks/webhookevent/?e=1", 302)]
    assert response.context["cl"].result_count == 1


def test_forms_take_any_value(staff: Staff) -> None:
    fill(1)
    client = staff("superuser")
    client.raise_request_exception = False
    posts = [
        (f"/admin/acts/{name}/", dict.fromkeys(_FIELDS, value))
        for name in ACTS
        for value in ("\0", "9" * 40, "9999-12-31T23:59")
    ]
    posts += [("/admin/find/", {"term": value}) for value in KEYS[:3]]
    posts += [
        (page(model, "changelist"), {"action": "replay_chosen", "_selected_action": key})
        for model in (WebhookEvent, User, Plan)
        for key in ("\0", "x", "9" * 40)
    ]
    own = User.objects.get(username="superuser").pk
    posts += [
        (url, {"username": "superuser", "groups": value, "email": value, "is_superuser": "on"})
        for url in ("/admin/auth/user/add/", f"/admin/auth/user/{own}/change/")
        for value in ("\0", "9" * 40, "-1")
    ]
    posts += [
        (f"/admin/export/{name}/?id=x", {}) for name in ("usage/usageevent", "usage/x", "x/x")
    ]

    answers = {(url, str(body)): client.post(url, body).status_code for url, body in posts}

    assert {asked: status for asked, status in answers.items() if status >= 500} == {}


_FIELDS = (
    *("reason", "org_id", "metric", "units", "expires_at", "plan_code", "code_id", "event_ids"),
    *("delivery_id", "request_id", "email", "name", "domain", "scopes", "family_id", "key_id"),
)
