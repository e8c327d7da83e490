"""Brings servers up in a folder and waits for a signal: what a launcher does, in short.

Started by path: `python holder.py <home folder>`. Writes one line of JSON when ready.
"""

import json
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from config.launcher.accounts import server_account  # noqa: E402
from config.launcher.instance import Instance  # noqa: E402
from config.launcher.places import PROJECT, Places, private_folder  # noqa: E402
from config.launcher.servers import servers  # noqa: E402
from config.launcher.signals import Stop, Stopper  # noqa: E402
from config.launcher.venv import Environment  # noqa: E402


def main() -> None:
    account = server_account()
    places = Places(PROJECT, Path(sys.argv[1]), account)
    private_folder(places.data, account)
    env = Environment(Path(sys.prefix), PROJECT / "requirements", places.data / "lock")
    instance = Instance(places.data)
    stopper = Stopper()
    # As after a kill: the guard of the one before may still hold the lock.
    instance.lock.acquire(wait=True)
    try:
        with servers(
            places, env, places.data, locks=(instance.lock.fd,), before_stop=stopper.tidy
        ) as up:
            pids = {c.spec.name: c.process.pid for c in up.supervisor.children if c.process}
            pids["guard"] = up.guard.pid
            print(
                json.dumps({"pids": pids, "sockets": str(up.sockets), **up.addresses}), flush=True
            )
            while True:
                signal.pause()
    except Stop:
        pass


if __name__ == "__main__":
    main()
