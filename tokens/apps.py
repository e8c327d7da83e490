"""Codes, token families and who may call for an organisation."""

from django.apps import AppConfig


class TokensConfig(AppConfig):
    """Codes, token families and who may call for an organisation."""

    name = "tokens"
    default_auto_field = "django.db.models.BigAutoField"
