"""The README's walk, executed exactly as it is printed."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.live import ROOT, Live

pytestmark = pytest.mark.django_db(transaction=True)


def walk() -> str:
    [block] = re.findall(r"^```bash\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    return str(block)


def test_the_walk_goes_from_sign_up_to_the_standard_denial(live: Live, tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 - the README's own lines
        ["bash", "-euo", "pipefail", "-c", walk()],  # noqa: S607 - as a reader would
        cwd=tmp_path,
        env={**live.env, "BASE": live.base},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    first, repeat, check, entitlements, last, denial, link = (json.loads(line) for line in lines)
    assert lines[0] == lines[1]
    assert first == repeat
    assert first["data"]["remaining"] == 1
    assert check["data"] == {**check["data"], "allow": True, "remaining": 1}
    assert entitlements["data"]["status"] == "trialing"
    assert last["data"]["remaining"] == 0
    assert denial["error"]["code"] == "RATE_LIMITED"
    assert denial["error"]["details"]["resetsAt"] == entitlements["data"]["periodEnd"]
    assert link["data"]["url"].startswith(f"{live.base}/portal/")
    assert re.search(r"^HTTP/1.1 429", done.stdout, re.M)
    assert re.search(
        r"^retry-after: \w{3}, \d\d \w{3} \d{4} 00:00:00 GMT", done.stdout, re.M | re.I
    )
