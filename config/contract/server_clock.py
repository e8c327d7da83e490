"""What another machine's clock says now, as far as its own answers tell."""


class ServerClock:
    """The difference between a server's clock and `time.monotonic()`, in seconds.

    A time that a server told was read between sending the command and receiving
    the answer, so every answer bounds the difference from both sides. The estimate
    moves only as far as the newest bounds demand: an answer that took long
    changes nothing, and a clock that drifts, was set, or is another server's now is
    followed at once.
    """

    def __init__(self) -> None:
        #: None until the server has told its time.
        self.ahead: float | None = None

    def learn(self, server_time: float, *, sent_at: float, received_at: float) -> float:
        """Take in a time that the server told and return how far it is ahead.

        The other two instants are by `time.monotonic()`.
        """
        lowest, highest = server_time - received_at, server_time - sent_at
        ahead = self.ahead
        self.ahead = ahead = lowest if ahead is None else min(max(ahead, lowest), highest)
        return ahead
