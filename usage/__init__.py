"""The ledger of use."""
