"""The tree of a page: parsing it, the text of a node as a reader sees it, addresses made absolute.

The only place that says what text is: a block element ends a word, a script says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Set
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
        b"area base br col embed hr img input link meta source track wbr p li dt dd tr td th thead"
        b" tbody tfoot option optgroup rt rp path use circle rect line polygon polyline ellipse stop"
    ).split()
)
# These are opened again in every paragraph until they are closed, so that few of them make many.
_FORMATTING: Final = frozenset(b"a b big code em font i nobr s small strike strong tt u".split())
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

# What most links of a page are, and no general rule is needed for: a path from the root, a whole address.
_PLAIN_PATH: Final = re.compile(r"/(?!/)[\w/%.,;:@&=+$!*'()~-]*", re.ASCII)
_PLAIN_URL: Final = re.compile(
    r"https?://[\w.-]+\w/[\w/%.,:@&=+$!*'()~-]*(?:\?[\w/%.,:@&=+-]+)?", re.ASCII
)


class Unreadable(ValueError):
    """The page nests elements deeper, or holds more of them, than any page that people write."""


def parse(html: bytes) -> LexborHTMLParser:
    """The tree of a page in UTF-8, as browsers build it.  Raises ``Unreadable``."""
    if len(html) > 3 * _FEW_TAGS:
        import numpy as np

        # Counting bytes takes a sixth of what looking for them does.
        tags = np.count_nonzero(np.frombuffer(html, dtype=np.uint8) == ord("<"))
        if tags > MAX_TAGS:
            raise Unreadable("more elements than on any page that people write")
        if tags > _FEW_TAGS:
            _refuse_depth(html)
    return LexborHTMLParser(html)


def _refuse_depth(html: bytes) -> None:
    depth = formatting = 0
    for end, written in _TAG.findall(html):
        name = written if written.islower() else written.lower()
        if name in _FORMATTING:
            formatting = max(formatting + (-1 if end else 1), 0)
            if formatting > MAX_FORMATTING:
                break
        elif name not in _UNNESTED:
            depth = max(depth + (-1 if end else 1), 0)
            if depth > MAX_DEPTH:
                break
    else:
        return
    raise Unreadable("elements nested deeper than on any page that people write")


def text_of(node: LexborNode, without: Set[int] = frozenset()) -> str:
    """The text of a node as a reader sees it, white space folded.

    ``without`` are nodes (``mem_id``) inside it that are left out, with all they hold.
    """
    if node.is_text_node:
        return " ".join((node.text_content or "").split())
    inner = node
    while (child := inner.first_child) is None or child.next is None:  # nearly all are as simple
        if child is None or child.is_text_node:
            text: str = (child.text_content if child else None) or ""
            return text if is_folded(text) else " ".join(text.split())
        if not child.is_element_node or child.tag in SILENT or child.mem_id in without:
            break
        inner = child
    parts: list[str] = []
    stack: list[LexborNode | str] = [node]
    while stack:  # not recursive: a page may nest deeper than Python does
        item = stack.pop()
        if isinstance(item, str):
            parts.append(item)
        elif item.mem_id in without and item is not node:
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


def is_plain(node: LexborNode) -> bool:
    """Whether an element holds nothing but one piece of text."""
    child = node.first_child
    return child is None or (child.next is None and child.is_text_node)


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
    if "/." not in href:
        if _PLAIN_PATH.fullmatch(href):
            return _root(base) + href if base else None
        if _PLAIN_URL.fullmatch(href):
            return href
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
