"""What the page is asked: a request by its id, or an organisation at an instant."""

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget

from billing.models import Organization
from config.backoffice.acts.forms import InstantField, MetricField
from config.contract.ids import is_well_formed
from quotas.queries import HEADLINE_METRIC

#: Organisations that are offered where a name fits several.
MOST_OFFERED = 10


def _line(placeholder: str) -> UnfoldAdminTextInputWidget:
    return UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "placeholder": placeholder})


class RequestForm(forms.Form):
    """A request by whatever id the customer quotes."""

    id = forms.CharField(
        label="Request id, correlation id, or request_id of a use",
        max_length=128,
        widget=_line("x-correlation-id, x-request-id or request_id"),
    )

    def clean_id(self) -> str:
        """Take nothing that no request can have as its id."""
        quoted: str = self.cleaned_data["id"].strip()
        if "\x00" in quoted:
            raise forms.ValidationError("This cannot be an id.")
        return quoted


class InstantForm(forms.Form):
    """An organisation, a metric and an instant."""

    org = forms.CharField(
        label="Organisation",
        max_length=254,
        widget=_line("Organisation id or name"),
    )
    metric = MetricField()
    at = InstantField(label="Instant (UTC)", required=False, help_text="Empty: now.")

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.fields["metric"].required = False
        #: What a name or an e-mail may mean, where it means several.
        self.offered: list[Organization] = []

    def clean_org(self) -> str:
        """Return the organisation's id, found by its id or name.

        Not by e-mail: this form is sent in an address, so that it can be linked to.
        """
        asked: str = self.cleaned_data["org"].strip()
        if asked.startswith("org_") and is_well_formed(asked):
            return asked
        if "\x00" in asked:
            raise forms.ValidationError("No organisation has this name.")
        known = Organization.objects.order_by("name", "org_id")
        found = list(known.filter(name__iexact=asked)[:MOST_OFFERED])
        found = found or list(known.filter(name__icontains=asked)[:MOST_OFFERED])
        if not found:
            raise forms.ValidationError("No organisation has this id or name.")
        if len(found) > 1:
            self.offered = found
            raise forms.ValidationError("Several organisations fit: choose one below.")
        return found[0].org_id

    def clean_metric(self) -> str:
        """Return the metric; the headline one unless another is named."""
        return self.cleaned_data["metric"] or HEADLINE_METRIC
