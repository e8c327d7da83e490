"""What the forms of acts have in common: a reason, and an organisation that exists."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django import forms
from unfold.widgets import (
    INPUT_CLASSES,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from billing.models import Organization
from config.contract.bodies import OUTSIDE_CALENDAR, is_in_calendar
from quotas.models import Metric


def text(label: str, *, most: int, required: bool = True, help_text: str = "") -> forms.CharField:
    """Return a line of text."""
    return forms.CharField(
        label=label,
        max_length=most,
        required=required,
        help_text=help_text,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
    )


def choice(
    label: str, choices: Iterable[tuple[str, str]], *, required: bool = True, help_text: str = ""
) -> forms.ChoiceField:
    """Return one of a few."""
    return forms.ChoiceField(
        label=label,
        choices=list(choices),
        required=required,
        help_text=help_text,
        widget=UnfoldAdminSelectWidget(),
    )


class InstantField(forms.DateTimeField):
    """An instant in UTC, picked with the browser's own control."""

    def __init__(self, **more: Any) -> None:
        super().__init__(
            widget=forms.DateTimeInput(
                attrs={"type": "datetime-local", "class": " ".join(INPUT_CLASSES)},
                format="%Y-%m-%dT%H:%M",
            ),
            **more,
        )

    def to_python(self, value: Any) -> datetime | None:
        """Return the instant. Raises ValidationError for one that the API would not take."""
        moment: datetime | None = super().to_python(value)
        if moment is not None and not is_in_calendar(moment):
            raise forms.ValidationError(OUTSIDE_CALENDAR)
        return moment


class MetricField(forms.ChoiceField):
    """A metric of the catalogue; asked of the database for each form."""

    def __init__(self, *, every: str = "", **more: Any) -> None:
        super().__init__(
            label="Metric",
            required=not every,
            choices=lambda: [
                *([("", every)] if every else []),
                *((one, one) for one in Metric.objects.order_by("pk").values_list("pk", flat=True)),
            ],
            widget=UnfoldAdminSelectWidget(),
            **more,
        )


class ActForm(forms.Form):
    """What every act asks: why."""

    reason = forms.CharField(
        max_length=500,
        help_text="Kept in the audit trail with your name. A ticket number helps.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Why comes last: first what, then for whom, then why.
        self.order_fields([name for name in self.fields if name != "reason"])

    def frozen(self) -> dict[str, Any]:
        """Return what was filled in, so that the same form can be read again later."""
        found = {}
        for name, field in self.fields.items():
            key = self.add_prefix(name)
            found[name] = field.widget.value_from_datadict(self.data, self.files, key)
        return found


class OrgActForm(ActForm):
    """An act on one organisation."""

    org_id = text("Organisation", most=30, help_text="Its id, such as org_01K…")

    def clean_org_id(self) -> str:
        """Return the id of an organisation that there is."""
        org_id = str(self.cleaned_data["org_id"])
        if not Organization.objects.filter(org_id=org_id).exists():
            raise forms.ValidationError("No such organisation")
        return org_id
