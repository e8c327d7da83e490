"""What no source of the product may do, looked up in its syntax.

The launcher (`./dev`) and the tests start processes; what serves requests does not.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.live import ROOT

ROOMS = ("config", "webhooks", "billing", "usage", "quotas", "tokens")
LAUNCHER = ROOT / "config" / "launcher"
#: Names that no call may have, as they are written: what runs text, or reads objects from it.
DANGEROUS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "pickle.loads",
    "pickle.load",
    "marshal.loads",
    "yaml.load",
    "shelve.open",
    "mark_safe",
    "Template",
    "engines.from_string",
    "Engine.from_string",
    "hashlib.md5",
    "ssl._create_unverified_context",
}
#: Modules whose import says enough.
UNWANTED = {"subprocess", "pickle", "marshal", "shelve", "xml", "lxml", "ldap", "jinja2"}


@cache
def modules() -> dict[Path, ast.Module]:
    """Return the syntax of every module that serves requests or works in the background."""
    files = (path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    return {
        path: ast.parse(path.read_text())
        for path in files
        if LAUNCHER not in path.parents and "sandbox" not in path.parts
    }


def places(matches: Iterator[tuple[Path, ast.AST]]) -> list[str]:
    """Return where something was found, to be read."""
    return [f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}" for path, node in matches]


def calls() -> Iterator[tuple[Path, ast.Call]]:
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield path, node


def imports() -> Iterator[tuple[Path, ast.AST, str]]:
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from ((path, node, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield path, node, node.module


def keyword(node: ast.Call, name: str) -> ast.expr | None:
    return next((each.value for each in node.keywords if each.arg == name), None)


def test_there_is_source_to_look_at() -> None:
    assert len(modules()) > 200


def test_nothing_runs_text_or_reads_objects_out_of_it() -> None:
    assert not places(
        (path, node)
        for path, node in calls()
        if ast.unparse(node.func) in DANGEROUS
        and not (node.args and _is_ours(node.args[0]) and ast.unparse(node.func) == "mark_safe")
    )


def test_nothing_that_serves_starts_processes_or_reads_xml() -> None:
    assert not places(
        (path, node) for path, node, name in imports() if name.partition(".")[0] in UNWANTED
    )


def test_what_can_be_foreseen_is_drawn_for_waiting_only() -> None:
    """`random` spreads waits; whatever opens something comes from `secrets`."""
    assert not places(
        (path, node)
        for path, node in calls()
        if ast.unparse(node.func).startswith("random.")
        and ast.unparse(node.func) != "random.uniform"
    )
    assert not places((p, n) for p, n, name in imports() if name == "random" and _is_from(n))


def _is_from(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom)


def test_no_process_of_the_launcher_goes_through_a_shell() -> None:
    for path in LAUNCHER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and "subprocess" in ast.unparse(node.func):
                assert keyword(node, "shell") is None, path


def test_a_weak_hash_is_never_for_security() -> None:
    for _, node in calls():
        if ast.unparse(node.func) in ("hashlib.sha1", "hashlib.new"):
            flag = keyword(node, "usedforsecurity")
            assert isinstance(flag, ast.Constant)
            assert flag.value is False


def test_no_statement_is_put_together_from_text() -> None:
    """Arguments travel beside a statement, never in it."""
    # The suffix of a function's name, of two that stand above it.
    exempt = {"usage/importing/runs.py"}
    assert not places(
        (path, node)
        for path, node in calls()
        if isinstance(node.func, ast.Attribute)
        and node.func.attr in ("execute", "executemany", "raw", "extra")
        and node.args
        and isinstance(node.args[0], (ast.JoinedStr, ast.BinOp))
        and "migrations" not in path.parts
        and str(path.relative_to(ROOT)) not in exempt
    )


def test_no_pattern_is_made_of_what_a_client_sent() -> None:
    # An operator's own at the command line; and one that is escaped in the line above.
    exempt = {"usage/importing/filters.py", "usage/importing/jsonlines.py"}
    assert not places(
        (path, node)
        for path, node in calls()
        if ast.unparse(node.func).partition(".")[0] == "re"
        and ast.unparse(node.func) != "re.escape"
        and not _is_ours(node.args[0])
        and str(path.relative_to(ROOT)) not in exempt
    )


def _is_ours(node: ast.expr) -> bool:
    """Tell whether a text is written in the source: literals and constants, put together."""
    match node:
        case ast.Constant():
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.strip("_").isupper()
        case ast.BinOp(left=left, right=right):
            return _is_ours(left) and _is_ours(right)
        case ast.JoinedStr(values=values):
            return all(map(_is_ours, values))
        case ast.FormattedValue(value=value):
            return _is_ours(value)
        case ast.Call(func=ast.Attribute(value=value, attr="join" | "encode"), args=args):
            return _is_ours(value) and all(map(_is_ours, args))
        case ast.Call(func=func):
            return ast.unparse(func) == "re.escape"
    return False


def test_no_redirect_is_followed_and_no_certificate_unchecked() -> None:
    for path, node in calls():
        for name in ("follow_redirects", "allow_redirects"):
            value = keyword(node, name)
            assert value is None or ast.unparse(value) == "False", path
        value = keyword(node, "verify")
        assert value is None or ast.unparse(value) != "False", path
    assert not places(
        (path, node) for path, node, name in imports() if name in ("requests", "httpx", "urllib3")
    )


def test_pages_write_no_text_as_markup_and_keep_nothing_in_the_browser() -> None:
    """Django escapes; nothing of ours switches it off, and no script of ours is there to."""
    # The theme's, with an id more: help texts of fields are markup, written by programmers.
    exempt = {ROOT / "templates" / "unfold" / "helpers" / "help_text.html"}
    for path in (*(ROOT / "templates").rglob("*.html"), *ROOT.glob("*/templates/**/*.html")):
        text = path.read_text()
        assert path in exempt or not re.search(r"\|\s*safe\b|autoescape\s+off", text), path
        assert not re.search(r"postMessage|localStorage|sessionStorage|innerHTML", text), path
    ours = [path for room in ROOMS for path in (ROOT / room).rglob("*.js")]
    assert not ours


def test_an_image_holds_no_history_no_secret_and_no_test() -> None:
    ignored = set((ROOT / ".dockerignore").read_text().split("\n"))

    assert {".git", ".env", ".env.*", ".data", ".venv", "tests", "benchmarks"} <= ignored


def test_every_library_is_pinned_to_a_hash() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        pinned = [line for line in path.read_text().splitlines() if re.match(r"[a-z0-9]", line)]
        text = path.read_text()
        assert pinned
        assert all("==" in line for line in pinned), path
        assert text.count("--hash=sha256:") >= len(pinned), path
