"""Ctrl-C, politely and then not: the first asks to stop, the second hurries."""

from __future__ import annotations

import signal
from types import FrameType

WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop(BaseException):
    """Someone asked the launcher to end. Raised in whatever it was doing."""


class Stopper:
    """Turns the first signal into `Stop`; later ones only say that there is a hurry."""

    def __init__(self) -> None:
        self._tidying = False
        self._impatient = False
        self.last: int | None = None
        for number in WATCHED:
            # `nohup` asks us to stay when the terminal goes. An ignored SIGINT only
            # means that a shell put us into the background.
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            signal.signal(number, self._received)

    def tidy(self) -> None:
        """From here on nothing is interrupted any more."""
        self._tidying = True

    @property
    def hurry(self) -> bool:
        return self._impatient

    def _received(self, number: int, frame: FrameType | None) -> None:
        self.last = number
        if self._tidying:
            self._impatient = True
            return
        self._tidying = True
        raise Stop
