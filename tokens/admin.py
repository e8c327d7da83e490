"""Who may call: codes, families, the audit trail. Hashes are never shown."""

from typing import Any

from django.contrib import admin
from django.utils.safestring import SafeString

from config.contract.admin import OrgAdmin, ReadOnlyAdmin, badge, page_link, units
from config.contract.history_admin import Changes, HistoryAdmin, history_of
from tokens.models import (
    ActivationCode,
    AuditEntry,
    OperatorKey,
    OrgAccess,
    PortalLink,
    RefreshToken,
    StaffLogIn,
    TokenFamily,
)


@admin.register(OrgAccess)
class OrgAccessAdmin(OrgAdmin):
    """Whether an organisation may call at all."""

    known_by = "org_id"
    list_display = (
        "organization",
        "suspended_at",
        "suspended_reason",
        "installation_limit",
        "created_at",
    )
    list_display_links = ("created_at",)
    list_filter = (("suspended_at", admin.EmptyFieldListFilter),)
    search_fields = ("org_id__exact",)
    search_help_text = "Organisation id"


@admin.register(TokenFamily)
class TokenFamilyAdmin(OrgAdmin):
    """Installations: one chain of refresh tokens each."""

    list_display = (
        "id",
        "organization",
        "domain",
        "scopes",
        "created_at",
        "last_refreshed_at",
        "expires_at",
        "revoked_at",
    )
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    search_fields = ("id__exact", "domain__exact")
    search_help_text = "Organisation id, family id or domain"


@admin.register(ActivationCode)
class ActivationCodeAdmin(OrgAdmin):
    """One-time codes, by what they allow; the code itself is not known here."""

    list_display = (
        "pk",
        "organization",
        "domain",
        "scopes",
        "issued_by",
        "created_at",
        "expires_at",
        "used_at",
        "family_page",
    )
    list_filter = (
        ("used_at", admin.EmptyFieldListFilter),
        ("revoked_at", admin.EmptyFieldListFilter),
    )
    search_fields = ("domain__exact", "issued_by__exact", "family_id__exact")
    search_help_text = "Organisation id, domain, family id or who issued it"

    @admin.display(description="family")
    def family_page(self, obj: ActivationCode) -> SafeString:
        """The installation that the code became."""
        return page_link("tokens_tokenfamily", obj.family_id or "")


@admin.register(RefreshToken)
class RefreshTokenAdmin(OrgAdmin):
    """The links of each chain, by when they were used; the tokens are not known here."""

    org_lookup = "family__org_id"
    extra_fields = ("organization", *OrgAdmin.extra_fields)
    export_columns = ("org_of",)
    list_display = ("pk", "organization", "family_page", "issued_at", "expires_at", "used_at")
    list_filter = (("used_at", admin.EmptyFieldListFilter),)
    list_select_related = ("family",)
    search_fields = ("family_id__exact",)
    search_help_text = "Organisation id or family id"

    @admin.display(description="family")
    def family_page(self, obj: RefreshToken) -> SafeString:
        """The installation that the token belongs to."""
        return page_link("tokens_tokenfamily", obj.family_id)


@admin.register(PortalLink)
class PortalLinkAdmin(OrgAdmin):
    """Links to the usage page and their visits; neither secret is known here."""

    list_display = (
        "pk",
        "organization",
        "made_by",
        "scopes",
        "created_at",
        "expires_at",
        "used_at",
        "session_expires_at",
        "closed_at",
    )
    list_filter = (("used_at", admin.EmptyFieldListFilter),)
    search_fields = ("family_id__exact", "made_by__exact")
    search_help_text = "Organisation id, family id or who made it"


@admin.register(OperatorKey)
class OperatorKeyAdmin(ReadOnlyAdmin):
    """Credentials of the company's own backends; the secrets are not known here."""

    known_by = "key_id"
    list_display = (
        "key_id",
        "name",
        "scopes",
        "created_at",
        "rotated_at",
        "revoked_at",
        "last_used_at",
        units("uses"),
    )
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    search_fields = ("key_id__exact", "name")
    search_help_text = "Key id or name"


@admin.register(AuditEntry)
class AuditEntryAdmin(OrgAdmin):
    """What happened to codes and tokens."""

    list_display = ("at", "what", "who", "organization", "family_page", "request_id")
    search_fields = (
        "family_id__exact",
        "request_id__exact",
        "correlation_id__exact",
        "what__exact",
    )
    search_help_text = "Organization, family, request or correlation id, or what happened"

    @admin.display(description="family")
    def family_page(self, obj: Any) -> SafeString:
        """The installation it happened to."""
        return page_link("tokens_tokenfamily", obj.family_id)


@admin.register(StaffLogIn)
class StaffLogInAdmin(ReadOnlyAdmin):
    """Who logged in as staff, who failed to, and who was locked out: by name and address."""

    list_display = (
        "at",
        badge("outcome", {"logged_in": "success", "failed": "warning", "locked_out": "danger"}),
        "username",
        "address",
        "door",
        "who",
        "request_id",
    )
    list_filter = ("outcome", "door")
    search_fields = ("username__exact", "address__exact")
    search_help_text = "Name as it was typed, or address"


for _history in history_of("tokens"):
    # An operator's key belongs to no organisation.
    _of_one = any(field.name == "org_id" for field in _history._meta.fields)
    admin.site.register(_history, HistoryAdmin if _of_one else Changes)
