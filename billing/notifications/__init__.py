"""Telling owners what happened: e-mails, and signed webhooks to a URL of theirs."""
