"""Codes, token families and who may call for an organisation."""
