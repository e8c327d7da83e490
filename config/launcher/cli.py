"""The command line of `./dev`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from config.launcher import commands
from config.launcher.run import run
from config.launcher.signals import Stop
from config.launcher.ui import Refusal, complain

HELP = """\
usage: ./dev <command> [arguments]

  run       start everything and keep it running (Ctrl-C stops it)
  test      run the tests on throwaway servers; arguments go to pytest
  manage    run manage.py beside the running platform, or on its own
  shell     a Python shell with the project loaded
  lint      ruff, mypy and the import rules
  logs      show what the processes wrote; -f follows
  bench     run the benchmarks on throwaway servers
  screenshots  take the pictures in docs/images anew
  reset     delete the local data (asks first)

`./dev <command> --help` says more. Only Python 3.11 or newer is needed: the
environment, PostgreSQL and Valkey are brought along. Set DATABASE_URL and
VALKEY_URL (or REDIS_URL) to use servers of your own.
"""

TEST_HELP = """\
usage: ./dev test [--durable] [pytest arguments]

Runs pytest on a PostgreSQL and a Valkey of its own, which are gone afterwards.

  --durable   on disk and with fsync, for tests that pull the plug

Examples: ./dev test -x tests/usage · ./dev test -n 2 · ./dev test -k replay
"""

MANAGE_HELP = """\
usage: ./dev manage <manage.py arguments>

Uses the servers of a running `./dev run`; when nothing runs, PostgreSQL and Valkey
are started for the command alone. `./dev manage help` lists the commands.
"""

BENCH_HELP = """\
usage: ./dev bench [arguments of the benchmarks]

Starts servers of its own, on disk and with fsync on, and runs `python -m benchmarks`.
"""


def main(arguments: list[str]) -> int:
    name, rest = (arguments[0], arguments[1:]) if arguments else ("help", [])
    if name in ("help", "-h", "--help"):
        print(HELP, end="")
        return 0
    command = COMMANDS.get(name)
    if command is None:
        complain(f"There is no command {name!r}; `./dev` lists them.")
        return 2
    try:
        return command(rest)
    except Refusal as refusal:
        complain(str(refusal))
        return 1
    except (Stop, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # `./dev logs | head`: the reader has seen enough.
        sys.stderr.close()
        return 141


def _run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="./dev run",
        description="Start PostgreSQL, Valkey, the Stripe sandbox, worker, beat and web, "
        "and keep them running until Ctrl-C. The data is kept.",
    )
    parser.add_argument("--port", type=int, help="where the web listens (default: PORT, or 8000)")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="show every line, not only warnings"
    )
    asked = parser.parse_args(arguments)
    return run(port=asked.port, verbose=asked.verbose)


def _logs(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="./dev logs", description="Show the logs of the last (or the running) `./dev run`."
    )
    parser.add_argument("names", nargs="*", help="web, worker, beat, sandbox, postgres, valkey")
    parser.add_argument("-f", "--follow", action="store_true", help="keep showing what is added")
    parser.add_argument("-n", "--lines", type=int, default=50, help="how many lines (default 50)")
    parser.add_argument("--raw", action="store_true", help="the lines as written, as JSON")
    asked = parser.parse_args(arguments)
    return commands.show_logs(asked.names, lines=asked.lines, follow=asked.follow, raw=asked.raw)


def _reset(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="./dev reset", description="Delete the local database, secrets, mail and logs."
    )
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    return commands.reset(yes=parser.parse_args(arguments).yes)


def _screenshots(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="./dev screenshots",
        description="Take the pictures in docs/images anew: the tests that lead to the pages "
        "take them, with the system's Chromium.",
    )
    parser.parse_args(arguments)
    return commands.screenshots()


def _lint(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="./dev lint", description="Run ruff, mypy and the import rules; all of them, always."
    )
    parser.parse_args(arguments)
    return commands.lint()


def _passing_on(command: Callable[[list[str]], int], help_text: str) -> Callable[[list[str]], int]:
    """A command whose arguments are another program's: only a lone --help is ours."""

    def start(arguments: list[str]) -> int:
        if arguments in (["-h"], ["--help"]):
            print(help_text, end="")
            return 0
        return command(arguments)

    return start


def _shell(arguments: list[str]) -> int:
    return commands.manage(["shell", *arguments])


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "run": _run,
    "test": _passing_on(commands.test, TEST_HELP),
    "manage": _passing_on(commands.manage, MANAGE_HELP),
    "shell": _shell,
    "lint": _lint,
    "logs": _logs,
    "bench": _passing_on(commands.bench, BENCH_HELP),
    "screenshots": _screenshots,
    "reset": _reset,
}
