"""`python -m billing.sandbox`: run the sandbox until a signal comes."""

import logging
import signal
import threading
from types import FrameType

from billing.sandbox.config import Config
from billing.sandbox.server import Sandbox


def main() -> None:
    """Serve on SANDBOX_URL."""
    logging.basicConfig(level=logging.INFO, format="sandbox %(levelname)s %(message)s")
    sandbox = Sandbox(Config.from_environment())
    stopped = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopped.set()

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)
    sandbox.start()
    logging.getLogger(__name__).info("listening on %s", sandbox.config.public_url)
    stopped.wait()
    sandbox.stop()


if __name__ == "__main__":
    main()
