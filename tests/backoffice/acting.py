"""Doing an act as staff do: fill in, look at what would change, confirm."""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.test import Client

Staff = Callable[[str], Client]
REASON = "ticket 4711"


@dataclass
class Look:
    """A page of an act."""

    response: Any

    @property
    def text(self) -> str:
        """The page as it reads, without its tags."""
        main = self.response.content.decode().partition('id="main"')[2]
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", main)).split())

    @property
    def confirmation(self) -> str:
        """What the button sends."""
        found = re.search(r'name="confirmation" value="([^"]+)"', self.response.content.decode())
        assert found, self.text
        return html.unescape(found[1])

    @property
    def can_be_confirmed(self) -> bool:
        """Whether there is a button."""
        return 'name="confirmation"' in self.response.content.decode()

    @property
    def changes(self) -> dict[str, tuple[str, str]]:
        """What would change: before and after, by what it is."""
        rows = re.findall(
            r'<th scope="row"[^>]*>(.*?)</th>\s*<td[^>]*>(.*?)</td>\s*<td[^>]*>(.*?)</td>',
            self.response.content.decode(),
            re.DOTALL,
        )
        return {html.unescape(a): (html.unescape(b), html.unescape(c)) for a, b, c in rows}


def url(act: str) -> str:
    """Return the address of an act."""
    return f"/admin/acts/{act}/"


def look(client: Client, act: str, **asked: Any) -> Look:
    """Fill the form in, and return what would change."""
    return Look(client.post(url(act), {"reason": REASON, **asked}))


def confirm(client: Client, act: str, looked: Look) -> Any:
    """Press the button of a page that shows what would change."""
    return client.post(url(act), {"confirmation": looked.confirmation})


def do(client: Client, act: str, **asked: Any) -> Any:
    """Look and confirm; return the answer, which leads away from the page."""
    answer = confirm(client, act, look(client, act, **asked))
    assert answer.status_code == 302, Look(answer).text
    return answer
