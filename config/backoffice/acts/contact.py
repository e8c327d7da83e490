"""Changing what an organisation is called and where its owner is written to."""

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget

from billing.contact import services
from billing.contact.services import ContactChange, Source
from billing.models import Organization
from config.backoffice.acts.base import Asked, By, Change, Done, Effect, Facts, OrgAct
from config.backoffice.acts.forms import OrgActForm
from config.contract import clock
from config.contract.errors import ValidationFailed


def _line(label: str, help_text: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=False,
        max_length=254,
        # The rule of the API decides, and says why; Django's own strips what it may keep.
        strip=False,
        help_text=help_text,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
    )


class ContactForm(OrgActForm):
    """What is to change; empty leaves it."""

    name = _line("New name", "Empty: it keeps its name.")
    email = _line("New e-mail", "Empty: it keeps its address. Be sure that the owner reads it.")

    def clean(self) -> dict[str, Any]:
        """Hold both to the rules of the API."""
        cleaned = super().clean() or {}
        name, email = cleaned.get("name") or None, cleaned.get("email") or None
        if not self.errors and name is None and email is None:
            raise forms.ValidationError("Say what is to change")
        try:
            change = services.read(name=name, email=email)
        except ValidationFailed as refused:
            fields = {"orgName": "name", "email": "email"}
            for field, faults in (refused.details or {})["fields"].items():
                self.add_error(fields[field], faults)
            return cleaned
        return {**cleaned, "name": change.name or "", "email": change.email or ""}


class ChangeContact(OrgAct):
    """PATCH /api/me, without the link."""

    name = "change-contact"
    title = "Change name or e-mail"
    about = (
        "Takes effect at once, and Stripe's customer follows. The old address is told; whoever"
        " reads the new one gets its codes, so be sure that it is the owner who asks."
    )
    group = "Access"
    icon = "contact_mail"
    permission = "billing.change_organization"
    form = ContactForm
    dangerous = True

    def effect(self, asked: Asked) -> Effect:
        """Return name and address before and after."""
        organization = Organization.objects.get(org_id=asked["org_id"])
        changes = [
            Change(what, before, after)
            for what, before, after in (
                ("Name", organization.name, asked["name"]),
                ("E-mail", organization.email, asked["email"]),
            )
            if after and after != before
        ]
        notes = [] if changes else ["It has this name and address already."]
        pending = services.contact_of(organization, now=clock.real_now()).email_pending
        if pending and asked["email"]:
            notes.append("The owner asked for another address: that link is taken back.")
        facts = {"name": organization.name, "email": organization.email}
        return Effect(changes, facts, notes, idle=not changes)

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Change it."""
        services.change_at_once(
            org_id=asked["org_id"],
            change=ContactChange(asked["name"] or None, asked["email"] or None),
            source=Source.STAFF,
            because=f"changed by {by.who}",
            now=clock.real_now(),
        )
        return Done("Changed. Stripe's customer follows within seconds.")
