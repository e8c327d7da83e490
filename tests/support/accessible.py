"""What an accessibility checker looks at, on a page that stands in a browser."""

from typing import Any

from playwright.sync_api import Page

#: Returns a sentence for each fault: contrast of every text that is seen (WCAG 2.2,
#: 1.4.3), names of controls, headings, landmarks, tables, ids, the size of targets (2.5.8).
_CHECK = """
(within) => {
  const faults = [];
  const root = within ? document.querySelector(within) : document.body;
  // Whatever colours are written in (oklch too), a pixel of them is red, green and blue.
  const pixel = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const known = new Map();
  const solid = (colour) => {
    if (!known.has(colour)) {
      pixel.clearRect(0, 0, 1, 1);
      pixel.fillStyle = colour;
      pixel.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = pixel.getImageData(0, 0, 1, 1).data;
      known.set(colour, {r, g, b, a: a / 255});
    }
    return known.get(colour);
  };
  const over = (top, under) => ({
    r: top.r * top.a + under.r * (1 - top.a),
    g: top.g * top.a + under.g * (1 - top.a),
    b: top.b * top.a + under.b * (1 - top.a),
    a: 1,
  });
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const colour = solid(getComputedStyle(at).backgroundColor);
      if (colour.a > 0) layers.unshift(colour);
      if (colour.a === 1) break;
    }
    return layers.reduce((under, top) => over(top, under), {r: 255, g: 255, b: 255, a: 1});
  };
  const light = ({r, g, b}) => {
    const [x, y, z] = [r, g, b].map((one) => {
      const part = one / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const seen = (element) => {
    const box = element.getBoundingClientRect();
    return element.checkVisibility({visibilityProperty: true}) && box.width > 1 && box.height > 1;
  };
  const name = (element) =>
    (element.getAttribute("aria-label") || element.textContent
      || [...(element.labels || [])].map((one) => one.textContent).join(" ")).trim();

  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (!text || element.closest("svg") || !seen(element)) continue;
    const style = getComputedStyle(element);
    const under = behind(element);
    const [darker, lighter] = [light(over(solid(style.color), under)), light(under)]
      .sort((x, y) => x - y);
    const ratio = (lighter + 0.05) / (darker + 0.05);
    if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(2)}: ${text.slice(0, 40)}`);
  }

  for (const control of root.querySelectorAll("a[href], button, summary, input, select")) {
    if (control.type === "hidden" || !seen(control)) continue;
    if (!name(control)) faults.push(`no name: ${control.outerHTML.slice(0, 60)}`);
    const box = control.getBoundingClientRect();
    const inline = getComputedStyle(control).display === "inline";
    if (!inline && Math.min(box.width, box.height) < 24)
      faults.push(`small target: ${name(control)}`);
  }

  if (!within) {
    const headings = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].filter(seen);
    if (headings.filter((one) => one.tagName === "H1").length !== 1) faults.push("not one h1");
    headings.reduce((before, one) => {
      const level = Number(one.tagName[1]);
      if (level > before + 1) faults.push(`heading skips a level: ${one.textContent.trim()}`);
      return level;
    }, 0);

    if (document.documentElement.lang !== "en") faults.push("no language");
    if (!document.title.trim()) faults.push("no title");
    if (document.querySelectorAll("main").length !== 1) faults.push("not one main");
    const outside = [...document.body.children].filter(
      (one) => !one.matches("main, header, footer, nav, aside, .skip, [role=note]"));
    if (outside.length) faults.push(`outside of landmarks: ${outside[0].tagName}`);

    const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
    if (new Set(ids).size !== ids.length) faults.push("an id stands twice");
  }
  for (const attribute of ["aria-labelledby", "for", "aria-describedby"])
    for (const one of root.querySelectorAll(`[${attribute}]`))
      if (!document.getElementById(one.getAttribute(attribute)))
        faults.push(`${attribute} names nothing`);
  for (const image of root.querySelectorAll("img:not([alt])"))
    faults.push(`no alt: ${image.src}`);
  for (const drawing of root.querySelectorAll("svg"))
    if (!drawing.closest("[aria-hidden=true]") && !drawing.getAttribute("role"))
      faults.push("a drawing without a role");
  for (const cell of root.querySelectorAll("th:not([scope])"))
    faults.push(`no scope: ${cell.textContent}`);
  for (const cell of root.querySelectorAll("th"))
    if (!cell.textContent.trim()) faults.push("an empty header cell");
  return faults;
}
"""


def faults(page: Page, *, within: str = "") -> list[str]:
    """Return what is wrong with the page as it stands, a sentence each.

    `within` names a part of it (a selector), where the frame is not ours.
    """
    found: Any = page.evaluate(_CHECK, within)
    return list(found)


#: What is wider than its window or the box that holds it.
_OVERFLOW = """
() => {
  const wide = [];
  const beyond = document.documentElement.scrollWidth - window.innerWidth;
  if (beyond > 0) wide.push(`the page by ${beyond} px`);
  for (const box of document.querySelectorAll("body *")) {
    const {display, overflowX} = getComputedStyle(box);
    if (box.closest("svg, .unseen, .plot") || display.startsWith("inline")) continue;
    if (overflowX === "auto" || overflowX === "scroll") continue;
    const more = box.scrollWidth - box.clientWidth;
    if (more > 0) wide.push(`${box.tagName} ${box.className} by ${more} px`);
  }
  return wide;
}
"""


def overflow(page: Page) -> list[str]:
    """Return what is wider than what it stands in.

    The words beside a drawing (`.plot`) may stand out of the place of their day, and
    what scrolls by itself (a wide table) holds what is wide.
    """
    found: Any = page.evaluate(_OVERFLOW)
    return list(found)
