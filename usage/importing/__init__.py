"""From an access log to the ledger: each request one event, counted once (docs/importing.md).

`logfile` gives lines, `formats` makes requests of them, `filters` and `units` say
which count and how much, `ids` and `repeats` name the event, `runs` fixes what a
source's instants become, `service` brings them to the ledger, `rejects` keeps
what could not be counted.
"""
