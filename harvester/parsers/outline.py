"""A page as one table: every element once, in document order, with what its neighbours ask of it.

Learning looks at the same elements from many sides (as a record, as a cell of one, as a part of the
menu).  One pass over the tree pays for all of it: the rest is arithmetic on positions.  Elements are
numbered in document order, so that an element and all it holds are the interval ``i .. end[i]``, and
a run of siblings is an interval too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

from harvester.parsers.tree import INLINE, SILENT

# What people and content systems call the parts of a page that are not its subject.
_BESIDE: Final = re.compile(
    r"(?:^|[-_ ])(?:side-?bar|widget|related|recommend(?:ed|ations)?|popular|trending|most-?read"
    r"|comments?|footer|foot|menu|nav(?:bar|igation)?|breadcrumbs?|share|social|sponsor(?:ed)?|promo"
    r"|ads?|advert\w*|banner|cookies?|modal|popup|newsletter|carousel|slider|ticker|tag-?cloud)"
    r"(?:$|[-_ ])",
    re.IGNORECASE,
)
_BESIDE_TAGS: Final = frozenset(["nav", "aside", "form", "dialog", "select"])
_EDGES: Final = frozenset(["header", "footer"])  # of the page; a card may have its own
_MAIN: Final = re.compile(
    r"(?:^|[-_ ])(?:main|content|primary|posts?|articles?|entries|listing|results?|archive|news|feed"
    r"|view-content|stream)(?:$|[-_ ])",
    re.IGNORECASE,
)
_HIDDEN: Final = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
# A class that a person or a content system gave; generated ones hold digits, hashes or brackets.
_WORD: Final = re.compile(r"-?[_A-Za-z][\w-]*", re.ASCII)
# A character that stands for a syllable or a word says as much as two or three letters.
_WIDE: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
MOST_ELEMENTS: Final = 60_000  # of a page that is learned from; a listing shows itself in fewer
DEEPEST: Final = 200  # levels; what is nested deeper is no part of a listing
_MOST_PAGE: Final = 0.4  # what holds more of the page's text than this is not beside its subject


@dataclass(slots=True)
class Outline:
    """The elements of a page's body; all lists but ``texts`` and ``owners`` have one item for each.

    ``end[i]`` is one past the last element inside ``i``.  ``texts`` are the page's texts, white space
    folded, ``owners`` the elements that they stand in; element ``i`` prints those from ``leaves[i]``
    to before ``until[i]``.
    """

    nodes: list[LexborNode] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    depth: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    tag: list[str] = field(default_factory=list)
    words: list[tuple[str, ...]] = field(default_factory=list)
    attributes: list[dict[str, str | None]] = field(default_factory=list)
    leaves: list[int] = field(default_factory=list)
    until: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    spaced: list[str] = field(default_factory=list)  # with a blank before them where one is read
    owners: list[int] = field(default_factory=list)
    chars: list[int] = field(default_factory=lambda: [0])  # the width of the texts before a text
    in_link: list[bool] = field(default_factory=list)
    leads: list[int] = field(default_factory=list)  # links before an element
    links: list[int] = field(default_factory=list)  # elements that lead somewhere
    targets: dict[int, str] = field(default_factory=dict)  # where; "" for this very page
    linked: list[int] = field(default_factory=lambda: [0])  # characters inside links before a text
    word_counts: Counter[str] = field(default_factory=Counter)  # elements with a class word
    beside: list[bool] = field(default_factory=list)
    main: list[bool] = field(default_factory=list)
    hidden: list[bool] = field(default_factory=list)

    def text(self, first: int, last: int) -> str:
        """What the texts from ``first`` to before ``last`` say together."""
        if last - first == 1:
            return self.texts[first]
        return "".join(self.spaced[first:last]).lstrip()

    def text_of(self, number: int) -> str:
        """What an element prints."""
        return self.text(self.leaves[number], self.until[number])

    def links_in(self, start: int, stop: int) -> list[int]:
        """The links among the elements ``start .. stop``."""
        return self.links[self.leads[start] : self.leads[stop]]

    def children(self, number: int) -> Iterator[int]:
        """The elements that stand directly inside an element."""
        child = number + 1
        while child < self.end[number]:
            yield child
            child = self.end[child]

    def ancestors(self, number: int) -> Iterator[int]:
        """The elements around an element, from the inside out."""
        while (number := self.parent[number]) >= 0:
            yield number


def outline(tree: LexborHTMLParser) -> Outline:
    """The table of a page."""
    page = Outline()
    body = tree.body
    if body is None:
        page.leaves.append(0)
        page.leads.append(0)
        return page
    blank = False
    stack: list[tuple[LexborNode, int]] = [(body, -1)]
    while stack and len(page.nodes) < MOST_ELEMENTS:
        node, parent = stack.pop()
        if node.is_text_node:
            raw = node.text_content or ""
            if text := " ".join(raw.split()):
                page.spaced.append(" " + text if blank or raw[0].isspace() else text)
                blank = raw[-1].isspace()
                page.texts.append(text)
                page.owners.append(parent)
                size = width(text)
                page.chars.append(page.chars[-1] + size)
                page.linked.append(page.linked[-1] + size * page.in_link[parent])
            elif raw:
                blank = True
            continue
        tag = node.tag
        if not node.is_element_node or tag is None or tag in SILENT:
            continue
        if parent >= 0 and page.depth[parent] >= DEEPEST:
            continue
        number = len(page.nodes)
        attributes = node.attributes
        page.nodes.append(node)
        page.parent.append(parent)
        page.depth.append(page.depth[parent] + 1 if parent >= 0 else 0)
        page.tag.append(tag)
        page.attributes.append(attributes)
        page.words.append(tuple(filter(_WORD.fullmatch, (attributes.get("class") or "").split())))
        page.leaves.append(len(page.texts))
        page.leads.append(len(page.links))
        leads = tag == "a" and "href" in attributes
        if leads:
            page.links.append(number)
            page.targets[number] = _target(attributes["href"] or "")
        page.in_link.append(leads or (parent >= 0 and page.in_link[parent]))
        page.hidden.append(
            (parent >= 0 and page.hidden[parent])
            or "hidden" in attributes
            or bool(_HIDDEN.search(attributes.get("style") or ""))
        )
        children = [(child, number) for child in node.iter(include_text=True)]
        children.reverse()
        stack += children
    page.word_counts.update(word for words in page.words for word in set(words))
    _close(page)
    _zones(page)
    return page


def width(text: str) -> int:
    """How much a text says, in letters of an alphabet."""
    return len(text) if text.isascii() else len(text) + len(_WIDE.findall(text))


def _target(href: str) -> str:
    href = href.strip()
    away = not href.startswith(("#", "javascript:", "mailto:"))
    return href.partition("#")[0] if away else ""


def _close(page: Outline) -> None:
    """Where each element ends: one past the last element that has it as an ancestor."""
    count = len(page.nodes)
    page.end = [0] * count
    page.leaves.append(len(page.texts))
    page.leads.append(len(page.links))
    page.until = page.leaves[:count]
    for leaf, owner in enumerate(page.owners):
        page.until[owner] = leaf + 1
    for number in range(count - 1, -1, -1):
        page.end[number] = max(page.end[number], number + 1)
        parent = page.parent[number]
        if parent >= 0:
            page.end[parent] = max(page.end[parent], page.end[number])
            page.until[parent] = max(page.until[parent], page.until[number])
    for number, tag in enumerate(page.tag):
        if tag not in INLINE:  # a block ends a word, as does a line break
            for leaf in (page.leaves[number], page.until[number]):
                if leaf < len(page.texts) and page.spaced[leaf][0] != " ":
                    page.spaced[leaf] = " " + page.texts[leaf]


def _zones(page: Outline) -> None:
    total = max(page.chars[-1], 1)
    for number, tag in enumerate(page.tag):
        parent = page.parent[number]
        beside = parent >= 0 and page.beside[parent]
        main = parent >= 0 and page.main[parent]
        names = " ".join([*page.words[number], page.attributes[number].get("id") or ""])
        if (
            not beside
            and (
                tag in _BESIDE_TAGS
                or (tag in _EDGES and not main)
                or (len(names) > 1 and _BESIDE.search(names))
            )
            and page.chars[page.until[number]] - page.chars[page.leaves[number]]
            < _MOST_PAGE * total
        ):
            beside = True
        if not main and (tag in ("main", "article") or (len(names) > 1 and _MAIN.search(names))):
            main = True
        page.beside.append(beside)
        page.main.append(main)
