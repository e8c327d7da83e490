"""Pictures of pages for the documentation, taken by the tests that lead there.

`./dev screenshots` takes them anew, into `docs/images/`. Otherwise they go to a
folder of the test's, so that what leads to them is known to work.
"""

import os
from pathlib import Path

from playwright.sync_api import Locator, Page

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
UPDATING = os.environ.get("UPDATE_PICTURES") == "1"


def picture(shown: Page | Locator, name: str, *, elsewhere: Path, whole: bool = True) -> Path:
    """Take a picture of the whole page, of what the window shows, or of a part of it.

    Returns where it is.
    """
    folder = IMAGES if UPDATING else elsewhere
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    if isinstance(shown, Page):
        shown.screenshot(path=path, full_page=whole, animations="disabled")
    else:
        shown.screenshot(path=path, animations="disabled")
    return path
