"""Whose token it is, remembered from when it was last let in.

Room in a process is shared out before a request can be let in, and a claim that
nobody verified must not use up another's share. So a token counts as its
owner's once it was let in, for as long as it lives; until then its bearer is a
stranger.
"""

import threading
import time

_MOST = 10_000

#: Token → owner, and when it ends (seconds since the epoch).
_owners: dict[str, tuple[str, float]] = {}
_lock = threading.Lock()


def remember(token: str, owner: str, *, until: float) -> None:
    """Note whose token was let in; `until` is when it ends, in seconds since the epoch."""
    if token in _owners:
        return
    with _lock:
        while len(_owners) >= _MOST:
            del _owners[next(iter(_owners))]
        _owners[token] = (owner, until)


def forget(token: str) -> None:
    """Note that a token is worth nothing any more."""
    if token in _owners:
        with _lock:
            _owners.pop(token, None)


def owner_of(authorization: str | None) -> str | None:
    """Return whose bearer token an Authorization header holds, if it was let in before."""
    if authorization is None:
        return None
    token = authorization[7:].strip() if authorization[:7].lower() == "bearer " else ""
    known = _owners.get(token)
    if known is None:
        return None
    owner, until = known
    if time.time() < until:
        return owner
    forget(token)
    return None
