"""The next page of a listing.

In this order: what the page declares (``rel=next``), the classes that pagers carry, words for "next"
inside a pager.  A page that is its own next page has none.
"""

from __future__ import annotations

import re
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

from harvester.parsers.pattern import compile_field
from harvester.parsers.tree import absolute, text_of

_DECLARED: Final = "link[rel~=next][href], a[rel~=next][href]"
_CLASSED: Final = (
    "a.next[href], .next > a[href], a.nextpostslink[href], .pager-next a[href],"
    " .pager__item--next a[href], .pagination-next a[href], a.pagination-next[href], .nav-previous a[href]"
)
_PAGER: Final = re.compile(r"\bpag(?:er|ination|inator|ing|e-?nav|e-numbers)", re.IGNORECASE)
_WORDS: Final = frozenset(
    (
        "next|next page|older|older posts|older entries|наступная|наступная старонка|далей"
        "|следующая|далее|следующая страница|вперед|наступна|далі|weiter|nächste|nächste seite"
        "|suivant|suivante|page suivante|siguiente|página siguiente|próxima|próximo|seguinte"
        "|następna|dalej|další|ďalšie|następny|successiva|successivo|avanti|volgende|nästa"
        "|neste|næste|seuraava|următoarea|sonraki|下一页|下一頁|下页|次へ|次のページ|다음|التالي|הבא|›|»|→|>|>>"
    ).split("|")
)
_EDGES: Final = " \t»›→>|·"


def find_next(tree: LexborHTMLParser, selector: str | None, url: str, base: str) -> str | None:
    """The address of the next page, ``None`` when there is none.

    ``selector`` is the pattern's own; then nothing else is looked for.  ``url`` is the page's address,
    ``base`` what its links are relative to.
    """
    nodes: list[LexborNode] = []
    if selector:
        node = tree.css_first(compile_field(selector).selector)
        nodes = [node] if node else []
    else:
        nodes = [*tree.css(_DECLARED), *tree.css(_CLASSED), *_worded(tree)]
    for node in nodes:
        link = node if node.attributes.get("href") else node.css_first("a[href]")
        found = absolute(link.attributes.get("href"), base) if link else None
        if found and found.partition("#")[0] != url.partition("#")[0]:
            return found
    return None


def _worded(tree: LexborHTMLParser) -> list[LexborNode]:
    return [link for link in tree.css("a[href]") if _says_next(link) and _in_pager(link)]


def _says_next(link: LexborNode) -> bool:
    label = link.attributes.get("aria-label") or link.attributes.get("title") or ""
    texts = (text_of(link).casefold(), label.casefold())
    return any(text in _WORDS or text.strip(_EDGES) in _WORDS for text in texts)


def _in_pager(link: LexborNode) -> bool:
    node: LexborNode | None = link
    for _ in range(5):
        if node is None:
            return False
        names = (node.attributes.get(name) or "" for name in ("class", "id", "aria-label"))
        if _PAGER.search(" ".join(names)):
            return True
        node = node.parent
    return False
