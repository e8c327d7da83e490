"""The back office has no tables of its own; Django tells it of migrations through this module."""
