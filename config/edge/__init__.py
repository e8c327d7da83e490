"""The front of the web process: requests are read whole, and queue fairly, before Django runs.

`python -m config.edge` serves `config.wsgi:application`. The sockets and HTTP are
granian's (`worker`); nothing here waits for a client while it holds a thread:

- `environ`   from a request's head to a WSGI environment, or why not
- `bodies`    reads a body within its cap, a time and a rate
- `routes`    which lane a request takes, and how large its body may be
- `lanes`     who may run now, who waits, who is sent away
- `door`      leads each request through these
- `answers`   from what the application returned, or a refusal, to the wire
"""
