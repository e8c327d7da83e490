"""Accounts of staff and their roles: the two tables that are edited here."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from config.backoffice.roles import ROLES

admin.site.unregister(User)
admin.site.unregister(Group)


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
class AccountAdmin(SuperusersOnly, UserAdmin, ModelAdmin):  # type: ignore[misc, type-arg]
    """People who work here. What one may do comes from groups alone."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "is_active", "is_staff", "is_superuser", "roles", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser", "groups")
    filter_horizontal = ("groups",)
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
        """Fetch the groups along."""
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display(description="password")
    def password_page(self, obj: User) -> SafeString:
        """Where to set it; of the hash not even a part is shown."""
        return SafeString('<a class="text-link" href="../password/">Set a new password</a>')

    @admin.display(description="groups")
    def roles(self, obj: User) -> str:
        """The groups, by name."""
        return ", ".join(group.name for group in obj.groups.all()) or "-"


@admin.register(Group)
class RoleAdmin(SuperusersOnly, GroupAdmin, ModelAdmin):  # type: ignore[misc]
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
