"""From an access log to the ledger: each request one event, counted once (docs/importing.md).

`logfile` gives lines; `formats`, `jsonlines` and `fields` make requests of them; `filters`
and `units` say which count and how much. `first_reading` tells by `identity` and `sample`
which log a file is; `ids` and `repeats` name the event; `runs` fixes what a source's
instants become. `service` brings the events to the ledger, `rejects` keeps what could
not be counted.
"""
