"""A small stateful Stripe for the dry run: its own process, its own database.

It speaks Stripe's wire (form bodies in, JSON out) for what the product uses, so
that the same client, requests and failures are exercised offline and live. It
imports neither Django nor any other room of the project; the only thing it
shares with them is HTTP. `docs` of each module say which rules of Stripe it
keeps; parameters are checked against the typed parameters of the installed
`stripe` package, objects against its resource classes (tests/sandbox).
"""

#: The API version whose shapes are spoken; the gateway pins the same one.
API_VERSION = "2026-10-28.endive"
