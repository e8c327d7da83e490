"""Accounts of staff and their roles, which are edited here, and what staff did."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from config.backoffice.acts.registry import ACTS
from config.backoffice.acts.stripe import MOST, ReplayWebhooks
from config.backoffice.acts.views import begin
from config.backoffice.export_models import Export
from config.backoffice.exports.views import file_address
from config.backoffice.models import StaffAct
from config.backoffice.recovery_models import RecoveryCode
from config.backoffice.roles import ROLES
from config.contract.admin import OrgAdmin, ReadOnlyAdmin, badge, units
from config.contract.admin_addresses import AnyAddress
from webhooks.admin import WebhookEventAdmin
from webhooks.models import WebhookEvent

admin.site.unregister(User)
admin.site.unregister(Group)
if settings.STAFF_MFA:
    from django_otp.plugins.otp_totp.models import TOTPDevice

    # Each sets up their own, on a page that asks for proof.
    admin.site.unregister(TOTPDevice)
# Registered again below, with what may be done about many of them at once.
admin.site.unregister(WebhookEvent)


_REPLAY = ReplayWebhooks.name


class SuperusersOnly:
    """Who may change accounts could become anyone, so that no role holds it."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Only a superuser."""
        return request.user.is_active and request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only a superuser."""
        return request.user.is_active and request.user.is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only a superuser."""
        return request.user.is_active and request.user.is_superuser


@admin.register(User)
class AccountAdmin(SuperusersOnly, AnyAddress, UserAdmin, ModelAdmin):  # type: ignore[misc, type-arg]
    """People who work here. What one may do comes from groups alone."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = (
        "username",
        "is_active",
        "is_staff",
        "is_superuser",
        "roles",
        "second_factor",
        "last_login",
    )
    list_filter = ("is_active", "is_staff", "is_superuser", "groups")
    filter_horizontal = ("groups",)
    export_columns = ("roles",)
    fieldsets = (
        (None, {"fields": ("username", "password_page")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Access", {"fields": ("is_active", "is_staff", "is_superuser", "groups")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("password_page", "last_login", "date_joined")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody: with an account goes the history of what it did. Take `active` away."""
        return False

    def get_queryset(self, request: HttpRequest) -> Any:
        """Fetch the groups along, and who has a second factor."""
        found = super().get_queryset(request).prefetch_related("groups")
        if settings.STAFF_MFA:
            theirs = TOTPDevice.objects.filter(user=OuterRef("pk"), confirmed=True)
            found = found.annotate(has_second_factor=Exists(theirs))
        return found

    @admin.display(description="password")
    def password_page(self, obj: User) -> SafeString:
        """Where to set it; of the hash not even a part is shown."""
        return SafeString('<a class="text-link" href="../password/">Set a new password</a>')

    @admin.display(description="second factor", boolean=True)
    def second_factor(self, obj: User) -> bool:
        """Whether they log in with one."""
        return bool(settings.STAFF_MFA and getattr(obj, "has_second_factor", False))

    @admin.display(description="groups")
    def roles(self, obj: User) -> str:
        """The groups, by name."""
        return ", ".join(group.name for group in obj.groups.all()) or "-"


@admin.register(Group)
class RoleAdmin(SuperusersOnly, AnyAddress, GroupAdmin, ModelAdmin):  # type: ignore[misc]
    """Groups. The three roles are written by code; others are free."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The roles' rights come back with each migration: editing them would be a lie."""
        return super().has_change_permission(request, obj) and not self._is_role(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Roles stay."""
        return super().has_delete_permission(request, obj) and not self._is_role(obj)

    @staticmethod
    def _is_role(obj: Any) -> bool:
        return obj is not None and obj.name in ROLES


@admin.register(StaffAct)
class StaffActAdmin(OrgAdmin):
    """Who did what, why, what they were shown, and how it ended."""

    hidden = ("asked", "shown")
    list_display = ("at", "act", "username", "organization", "ended", "reason", "request_id")
    list_filter = ("act",)
    list_select_related = ("end",)
    search_fields = (
        "username__exact",
        "uuid__exact",
        "request_id__exact",
        "correlation_id__exact",
    )
    search_help_text = "Organisation id, name of the member of staff, request or correlation id"
    extra_fields = ("what_was_shown", "ended", *OrgAdmin.extra_fields)

    @admin.display(description="ended")
    def ended(self, obj: StaffAct) -> str:
        """How it ended; an act that was cut off has no end."""
        end = getattr(obj, "end", None)
        return str(end) if end else "cut off: look whether it took effect"

    @admin.display(description="what was shown")
    def what_was_shown(self, obj: StaffAct) -> SafeString:
        """Before and after, as the confirmation page said."""
        context = {"changes": obj.shown, "before": "Before", "after": "Afterwards"}
        return render_to_string("admin/acts/changes.html", context)


@admin.register(WebhookEvent)
class ReplayableAdmin(WebhookEventAdmin):
    """The inbox, from which events can be chosen to be processed again."""

    actions = ("replay_chosen",)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Who may replay is offered it."""
        return request.user.has_perm(ACTS[_REPLAY].permission)

    @admin.action(description="Replay…", permissions=["replay"])
    def replay_chosen(self, request: HttpRequest, queryset: "QuerySet[WebhookEvent]") -> Any:
        """Show what replaying the chosen ones would change, to be confirmed."""
        ids = queryset.order_by("pk").values_list("event_id", flat=True)[: MOST + 1]
        return begin(request, ACTS[_REPLAY], {"event_ids": "\n".join(ids)})


@admin.register(RecoveryCode)
class RecoveryCodeAdmin(ReadOnlyAdmin):
    """Recovery codes of staff, by whose they are and when they were used; never the codes."""

    list_display = ("pk", "user", "created_at", "used_at")
    list_filter = (("used_at", admin.EmptyFieldListFilter),)
    list_select_related = ("user",)
    search_fields = ("user__username__exact",)
    search_help_text = "Name of the member of staff"


@admin.register(Export)
class ExportAdmin(ReadOnlyAdmin):
    """Long lists that were taken out. All are seen by all; a file is its maker's alone."""

    hidden = ("last_key",)
    list_display = (
        "created_at",
        "listed",
        "maker",
        badge("state", {"done": "success", "waiting": "info", "failed": "danger"}),
        units("rows"),
        units("size"),
        "expires_at",
    )
    list_filter = ("state",)
    list_select_related = ("maker",)
    search_fields = ("maker__username__exact",)
    search_help_text = "Name of the member of staff"
    extra_fields = ("file",)

    @admin.display(description="file")
    def file(self, obj: Export) -> SafeString:
        """Where its maker fetches it."""
        if obj.state == Export.State.WAITING:
            return SafeString('It is being written. <a class="text-link" href="">Look again</a>')
        if obj.state != Export.State.DONE:
            return SafeString("-")
        link = '<a class="text-link" href="{}">Download</a>, for its maker alone'
        return format_html(link, file_address(obj))
