"""Stripe's events: received durably, processed once."""
