"""Pictures of pages for the documentation, taken by the tests that lead there.

`UPDATE_PICTURES=1 ./dev test tests/portal/test_pictures.py` takes them anew, into
`docs/images/`. Otherwise they go to a folder of the test's, so that what leads to
them is known to work.
"""

import os
from pathlib import Path

from playwright.sync_api import Page

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
UPDATING = os.environ.get("UPDATE_PICTURES") == "1"


def picture(page: Page, name: str, *, elsewhere: Path) -> Path:
    """Take a picture of the whole page; return where it is."""
    folder = IMAGES if UPDATING else elsewhere
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    page.screenshot(path=path, full_page=True, animations="disabled")
    return path
