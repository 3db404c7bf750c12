"""The tree of a page: parsing it, the text of a node as a reader sees it, addresses made absolute.

The only place that says what text is: a block element ends a word, a script says nothing.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import urljoin, urlsplit

from selectolax.lexbor import LexborHTMLParser, LexborNode

from pipelines.text import is_folded

# The HTML5 algorithm looks up the stack of open elements at most tags, so that its cost grows with
# the square of the depth: 40,000 nested elements take seconds, a million take hours.
MAX_DEPTH: Final = 5_000
MAX_TAGS: Final = 400_000
_FEW_TAGS: Final = 2 * MAX_DEPTH
_TAG: Final = re.compile(rb"<(/?)([a-zA-Z][a-zA-Z0-9-]*)[^<>]*>")
# Elements without an end tag, or whose end tag may be left out, and what drawings are made of.
_UNNESTED: Final = frozenset(
    (
        "area base br col embed hr img input link meta source track wbr p li dt dd tr td th thead"
        " tbody tfoot option optgroup rt rp path use circle rect line polygon polyline ellipse stop"
    ).split()
)
# These are opened again in every paragraph until they are closed, so that few of them make many.
_FORMATTING: Final = frozenset("a b big code em font i nobr s small strike strong tt u".split())
MAX_FORMATTING: Final = 250

SILENT: Final = frozenset(
    ["script", "style", "noscript", "template", "svg", "iframe", "select", "head"]
)
INLINE: Final = frozenset(
    (
        "a abbr acronym b bdi bdo big cite code del dfn em font i ins kbd mark nobr q s samp small"
        " span strike strong sub sup time tt u var wbr -text"
    ).split()
)

# What most links of a page are: a path from the root, for which no general rule is needed.
_PLAIN_PATH: Final = re.compile(r"/(?!/)[\w/%.,;:@&=+$!*'()~-]*", re.ASCII)


class Unreadable(ValueError):
    """The page nests elements deeper, or holds more of them, than any page that people write."""


def parse(html: bytes) -> LexborHTMLParser:
    """The tree of a page in UTF-8, as browsers build it.  Raises ``Unreadable``."""
    tags = html.count(b"<")
    if tags > MAX_TAGS:
        raise Unreadable("more elements than on any page that people write")
    if tags > _FEW_TAGS:
        _refuse_depth(html)
    return LexborHTMLParser(html)


def _refuse_depth(html: bytes) -> None:
    depth = formatting = 0
    for tag in _TAG.finditer(html):
        step = -1 if tag[1] else 1
        name = tag[2].lower().decode()
        if name in _FORMATTING:
            formatting = max(formatting + step, 0)
        elif name not in _UNNESTED:
            depth = max(depth + step, 0)
        if depth > MAX_DEPTH or formatting > MAX_FORMATTING:
            raise Unreadable("elements nested deeper than on any page that people write")


def text_of(node: LexborNode, without: frozenset[int] = frozenset()) -> str:
    """The text of a node as a reader sees it, white space folded.

    ``without`` are nodes (``mem_id``) that are left out, with all they hold.
    """
    if node.is_text_node:
        return " ".join((node.text_content or "").split())
    child = node.first_child
    if child is None or (child.next is None and child.is_text_node):
        text: str = (child.text_content if child else None) or ""
        return text if is_folded(text) else " ".join(text.split())
    parts: list[str] = []
    stack: list[LexborNode | str] = [node]
    while stack:  # not recursive: a page may nest deeper than Python does
        item = stack.pop()
        if isinstance(item, str):
            parts.append(item)
        elif without and item.mem_id in without:
            parts.append(" ")
        elif item.is_text_node:
            parts.append(item.text_content or "")
        elif item.is_element_node and item.tag not in SILENT:
            inline = item.tag in INLINE
            if not inline:
                parts.append(" ")
                stack.append(" ")
            stack.extend(reversed(list(item.iter(include_text=True))))
    return " ".join("".join(parts).split())


def base_url(tree: LexborHTMLParser, url: str) -> str:
    """What relative addresses of a page are relative to: its ``<base href>``, or its own address.

    Empty where that is no http address; then relative addresses lead nowhere.
    """
    base = tree.css_first("base[href]")
    return absolute((base.attributes.get("href") if base else None) or "", url) or ""


def absolute(href: str | None, base: str) -> str | None:
    """An address made absolute; ``None`` when it is none that HTTP can fetch."""
    if href is None:
        return None
    if _PLAIN_PATH.fullmatch(href) and "/." not in href:
        return _root(base) + href if base else None
    try:
        url = urljoin(base, href.strip())
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    return url if parts.scheme.lower() in ("http", "https") and host else None


@lru_cache(maxsize=256)
def _root(base: str) -> str:
    return urljoin(base, "/").removesuffix("/")
