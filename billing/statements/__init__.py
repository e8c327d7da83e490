"""Statements: what an organisation used in a period, and a seal on what is closed."""
