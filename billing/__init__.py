"""Organisations, plans, and everything that Stripe is asked."""
