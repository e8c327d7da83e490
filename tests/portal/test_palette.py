"""Every pair of colours that meets on the pages has the contrast of WCAG 2.2 AA, light and dark."""

import re
from itertools import product
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders

#: Text on what is behind it: 4.5 to 1 (success criterion 1.4.3).
TEXT = [
    *product(("text", "quiet", "link"), ("page", "card")),
    *product(("on-accent",), ("accent", "accent-hover")),
    *product(("on-danger",), ("danger", "danger-hover")),
    *((f"{tone}-text", f"{tone}-back") for tone in ("good", "warn", "bad", "info")),
    ("good-text", "card"),
]
#: What has to be seen to understand: 3 to 1 (1.4.11). A gauge is told from its track, too.
SHAPES = [
    *product(("field", "bar", "today", "quiet"), ("card",)),
    *product(("accent",), ("page", "card")),
    *product(("good-fill", "warn-fill", "bad-fill"), ("card", "track")),
]


def sheet() -> str:
    found = finders.find("portal/portal.css")
    assert found
    return Path(found).read_text()


def palette(scheme: str) -> dict[str, str]:
    """Return the colours of a scheme by name; dark ones replace the light ones."""
    light, dark = re.findall(r":root \{(.*?)\}", sheet(), re.DOTALL)[:2]
    named = re.compile(r"--([a-z-]+):\s*(#[0-9a-f]{6});")
    colours = dict(named.findall(light))
    return colours if scheme == "light" else {**colours, **dict(named.findall(dark))}


def luminance(colour: str) -> float:
    """Return the relative luminance that WCAG defines."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_computed_as_wcag_says() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("pairs", "least"), [(TEXT, 4.5), (SHAPES, 3.0)])
def test_every_pair_of_colours_can_be_told_apart(
    scheme: str, pairs: list[tuple[str, str]], least: float
) -> None:
    colours = palette(scheme)

    ratios = {pair: round(contrast(*(colours[name] for name in pair)), 2) for pair in pairs}

    assert {pair: ratio for pair, ratio in ratios.items() if ratio < least} == {}


def test_the_dark_scheme_names_every_colour_of_the_light_one() -> None:
    light, dark = re.findall(r":root \{(.*?)\}", sheet(), re.DOTALL)[:2]

    names = [set(re.findall(r"--([a-z-]+):", part)) for part in (light, dark)]

    assert names[0] == names[1]


def test_colours_stand_in_the_palette_alone_and_nothing_is_loaded() -> None:
    rules = re.sub(r":root \{.*?\}", "", sheet(), flags=re.DOTALL)

    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b|rgb\(|hsl\(", rules)
    assert "url(" not in rules
    assert "@import" not in rules
