"""The three roles of staff. Made anew after every migration, so they know every table."""

from typing import Any

from django.apps import apps

_REPLAY = frozenset({"replay_webhookevent"})
#: Groups by name, each with what it may do beyond reading.
ROLES: dict[str, frozenset[str]] = {
    "auditor": frozenset(),
    "support": _REPLAY,
    # Operator credentials meter every organisation: those are for superusers, or a group of
    # the company's own.
    "billing admin": _REPLAY
    | {
        "reset_usagecounter",
        "adjust_usagecounter",
        "add_usagevoid",
        "change_plan",
        "change_organization",
        "suspend_organization",
        "manage_installations",
    },
}
OUR_APPS = ("contract", "tokens", "quotas", "usage", "billing", "webhooks", "backoffice")


def sync_roles(**_: Any) -> None:
    """Give each role the permission to read everything of ours, and its own acts."""
    permission_model: Any = apps.get_model("auth", "Permission")
    group_model: Any = apps.get_model("auth", "Group")
    ours = permission_model.objects.filter(content_type__app_label__in=OUR_APPS)
    for name, acts in ROLES.items():
        group, _made = group_model.objects.get_or_create(name=name)
        group.permissions.set(
            [one for one in ours if one.codename.startswith("view_") or one.codename in acts]
        )
