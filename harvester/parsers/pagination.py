"""The next page of a listing.

Every link that could lead there is described by readable features: what it says (words for "next" in
many languages, arrows, the number after the current one), what it is called (classes, ``rel``,
labels), where it stands (a pager, among numbers) and where it leads (this page's address with a
higher number).  A linear ranker weighs them (``weights.toml``); none of them stands at 0.  A page that
is its own next page has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from selectolax.lexbor import LexborHTMLParser, LexborNode

from harvester.parsers.pattern import compile_field
from harvester.parsers.rankers import Features, score, weights
from harvester.parsers.tree import absolute, text_of

_NEXT: Final = frozenset(
    (
        "next|next page|more posts|forward|наступная|наступная старонка|далей|следующая"
        "|следующая страница|след|далее|дальше|вперед|вперёд|наступна|далі|weiter|weitere"
        "|nächste|nächste seite|nächster|vorwärts|suivant|suivante|suivants|page suivante"
        "|siguiente|siguientes|página siguiente|próxima|próximo|próximos|seguinte|seguintes"
        "|página seguinte|següent|següents|següent pàgina|następna|następna strona|następny"
        "|dalej|další|další stránka|ďalšia|ďalšie|ďalší|sljedeća|sljedeće|slijedeća|naslednja"
        "|sledeća|следећа|следваща|следващ|следна|successiva|successivo|successivi|prossima"
        "|prossimo|avanti|volgende|volgende pagina|nästa|nästa sida|neste|neste side|næste"
        "|næste side|seuraava|järgmine|nākamā|nākamais|kitas|sekantis|toliau|următoarea"
        "|următorul|urmator|următor|înainte|következő|sonraki|sonraki sayfa|ileri|επόμενη"
        "|επόμενο|下一页|下一頁|下页|下頁|后一页|次へ|次のページ|次|다음|다음 페이지|التالي|التالية|الصفحة التالية"
        "|بعدی|صفحه بعد|صفحه بعدی|הבא|הבאה|לעמוד הבא|अगला|अगले|পরবর্তী|পরের|ถัดไป"
        "|หน้าถัดไป|tiếp|tiếp theo|trang sau|sau|berikutnya|selanjutnya|lanjut|seterusnya"
    ).split("|")
)
# What follows is the past: these words may come with an arrow to the left.
_OLDER: Final = frozenset(
    (
        "older|older posts|older entries|older articles|previous entries|earlier|раней|раньше"
        "|старые записи|более ранние записи|ältere beiträge|ältere einträge|älter"
        "|articles plus anciens|plus anciens|entradas antiguas|entradas anteriores"
        "|posts antigos|mais antigos|starsze wpisy|starsze posty|starší|starší příspěvky"
        "|staršie|по-стари|articoli precedenti|post più vecchi|oudere berichten|äldre inlägg"
        "|eldre innlegg|ældre indlæg|vanhemmat|articole mai vechi|régebbi bejegyzések|korábbi bejegyzések"
        "|régebbiek|eski yazılar|daha eski|παλαιότερα|前の記事|過去の記事|이전 글|المقالات الأقدم"
        "|نوشته‌های پیشین|posting lama|pos-pos lama"
    ).split("|")
)
_BACK: Final = frozenset(
    (
        "previous|prev|previous page|newer|newer posts|newer entries|back|назад|предыдущая"
        "|пред|новее|папярэдняя|попередня|zurück|vorherige|neuere beiträge|précédent"
        "|précédente|page précédente|plus récents|anterior|anteriores|entradas recientes"
        "|poprzednia|nowsze|předchozí|novější|predchádzajúca|prethodna|предишна|precedente"
        "|precedenti|indietro|vorige|nieuwere berichten|föregående|forrige|edellinen|uudemmat"
        "|anterioara|előző|újabb bejegyzések|önceki|geri|προηγούμενη|上一页|上一頁|上页|前へ|前のページ|이전"
        "|السابق|قبلی|הקודם|পূর্ববর্তী|ก่อนหน้า|trước|trang trước|sebelumnya"
        "|posting lebih baru|पिछला"
    ).split("|")
)
_MORE: Final = frozenset(
    (
        "more|load more|show more|view more|mehr|mehr laden|plus|voir plus|más|ver más|cargar más|mais"
        "|ver mais|więcej|více|viac|ещё|еще|показать ещё|ще|больш|altro|altri|meer|mer|flere|lisää|még"
        "|daha fazla|更多|もっと見る|もっと|더보기|المزيد|بیشتر|עוד|xem thêm|เพิ่มเติม|lainnya"
    ).split("|")
)
# The next of some things, one of which this page shows, is no next page of a list.
_NEXT_THING: Final = re.compile(
    r"\b(?:thread|topic|issue|edition|lesson|match|game|article|story|post|chapter|episode|video|photo|day|week|month|year|event"
    r"|thema|beitrag|artikel|kapitel|тема|статья|запись)\b"
)
_ITEMS: Final = ("li", "span", "div", "p")
_EDGES: Final = " \t\xa0»›→>|·«‹←<.…⟩⟨▶►▸↓[]()-–—:+"
_FORWARD: Final = re.compile(r"^\s*(?:[»›→⟩▶►▸❯]+|>{1,2}|&gt;)\s*$")
_END: Final = re.compile(r"^\s*(?:»»|>>|»\||>\||[⏭⇥])\s*$")
_BACKWARD: Final = re.compile(r"^\s*(?:[«‹←⟨◀◄❮]+|<{1,2})\s*$")
_NAMED_NEXT: Final = re.compile(
    r"(?:^|[-_ ])(?:nxt|next\w*|older\w*|forward|weiter|suivant\w*|siguiente|seguinte|volgende|nasta)"
    r"(?:$|[-_ ])|next(?:page|link|post|btn)|nextLink|NextPage|(?:arrow|chevron|angle|caret)(?:-\w+)?-?right|right-?arrow",
    re.IGNORECASE,
)
_NAMED_BACK: Final = re.compile(
    r"(?:^|[-_ ])(?:prev\w*|newer\w*|back|first|last)(?:$|[-_ ])|(?:arrow|chevron|angle|caret)(?:-\w+)?-?left|disabled",
    re.IGNORECASE,
)
_PAGER: Final = re.compile(
    r"pag(?:er|ina|ing|e-?nav|e-?num|e-?link|e-?list)|pagenavi|nav-?links|seiten|\bpages\b"
    r"|(?<!main-)(?<!site-)(?<!primary-)(?<!menu-)navigation",
    re.IGNORECASE,
)
_CALENDAR: Final = re.compile(r"calendar|kalender|wp-calendar|datepicker|month", re.IGNORECASE)
_SLIDES: Final = re.compile(r"slid|carousel|gallery|swiper|ticker|flex-direction", re.IGNORECASE)
_PAGE_WORD: Final = re.compile(
    r"pag|seite|start|offset|skip|strana|(?:^|\W)(?:p|pg|pn)\W?\d", re.IGNORECASE
)
_NUMBER: Final = re.compile(r"\d+")
_OFF: Final = re.compile(r"(?:^|[-_ ])(?:disabled|inactive)(?:$|[-_ ])", re.IGNORECASE)
_COMMENTS: Final = re.compile(r"comments?-?(?:nav|pag)", re.IGNORECASE)
_MONTH: Final = re.compile(r"(?:19|20)\d\d-\d{1,2}(?:-\d{1,2})?")
_YEARS: Final = range(1900, 2101)
_PLAIN_WORD: Final = re.compile(r"[A-Za-z][\w-]*", re.ASCII)
_PAGE_NUMBER: Final = re.compile(r"(?:page|paged|pagina|seite|p|PAGEN_1)[=/_-]?(\d{1,4})(?:\D|$)")
_FORWARD_SIGNS: Final = ("says next", "says older", "says more", "rel next", "named next")
_SHORT: Final = 40  # characters; what is longer is no link of a pager
_MOST_NUMBERS: Final = 40  # links with numbers in one pager


def find_next(tree: LexborHTMLParser, selector: str | None, url: str, base: str) -> str | None:
    """The address of the next page, ``None`` when there is none.

    ``selector`` is the pattern's own; then nothing else is looked for.  ``url`` is the page's address,
    ``base`` what its links are relative to.
    """
    if selector:
        node = tree.css_first(compile_field(selector).selector)
        if node is None:
            return None
        link = node if node.attributes.get("href") else node.css_first("a[href]")
        found = absolute(link.attributes.get("href"), base) if link else None
        return found if found and _plain(found) != _plain(url) else None
    options = describe_links(tree, url, base)
    table = weights()["next"]
    best = max(options, key=lambda option: score(option.features, table), default=None)
    if best is None or score(best.features, table) <= 0:
        return None
    # Where "next" leads to the next ten pages, the number after this one leads to the next page.
    nearer = [
        option
        for option in options
        if "the number, and the address counts" in option.features
        and "address counts down" not in option.features
        and _step(_parts(option.url), _parts(best.url)) == "up"
    ]
    return nearer[0].url if nearer else best.url


def next_selector(tree: LexborHTMLParser, url: str, base: str) -> str | None:
    """A selector of the link to the next page, ``None`` when only looking at all links finds it.

    Only what is called "next" is trusted to lead on from every page: a number leads to one page.
    """
    wanted = find_next(tree, None, url, base)
    if wanted is None:
        return None
    for selector in _named_selectors(tree, wanted, base):
        if find_next(tree, selector, url, base) == wanted:
            return selector
    return None


def _named_selectors(tree: LexborHTMLParser, wanted: str, base: str) -> Iterator[str]:
    yield "a[rel~=next]"
    for node in tree.css("a[href]"):
        if absolute(node.attributes.get("href"), base) != wanted:
            continue
        parent = node.parent
        for element, form in ((node, "a.{}"), (parent, ".{} > a")):
            for word in ((element and element.attributes.get("class")) or "").split():
                if _NAMED_NEXT.search(word) and _PLAIN_WORD.fullmatch(word):
                    yield form.format(word)


@dataclass(frozen=True, slots=True)
class Option:
    """A link that might lead to the next page."""

    node: LexborNode
    url: str
    features: Features


@dataclass(slots=True)
class _Link:
    node: LexborNode
    url: str
    text: str  # without a text, what its labels or its image say
    signs: Mapping[str, bool]  # what it says and is called
    number: int | None
    around: list[LexborNode] = field(default_factory=list)  # up to four elements, inside out


def describe_links(tree: LexborHTMLParser, url: str, base: str) -> list[Option]:
    """The addresses that anything speaks for, with all that does: links to the same place add up."""
    here, host = _plain(url), _host(url)
    links = [
        link
        for node in tree.css("a[href], link[rel~=next][href]")
        if (link := _link(node, base)) and _plain(link.url) != here and _host(link.url) == host
    ]
    numbers = _numbers(links)
    current = _current(numbers, url)
    shown = {_plain(link.url) for link in links if link.node.tag == "a"}
    parts = _parts(url)
    found: dict[str, Option] = {}
    for link in links:
        if features := _describe(link, url, parts, current, numbers):
            target = _plain(link.url)
            if target not in shown:
                features["only in the head"] = 1.0
            option = found.setdefault(target, Option(link.node, link.url, {}))
            option.features.update(features)
    return list(found.values())


def _link(node: LexborNode, base: str) -> _Link | None:
    attributes = node.attributes
    href = attributes.get("href")
    if not href or href.startswith(("#", "javascript:", "mailto:")):
        return None
    text = text_of(node)
    if len(text) > _SHORT:
        return None
    label = " ".join(filter(None, (attributes.get("aria-label"), attributes.get("title"))))
    if not text:
        image = node.css_first("img")
        words = image.attributes if image else {}
        text = label or words.get("alt") or words.get("title") or ""
    signs = _signs(text, label, attributes.get("rel"), _names(node, attributes, text))
    if signs is None:
        return None  # an address alone says little: menus lead to all kinds of them
    url = absolute(href, base)
    number = int(text) if text.isdecimal() and len(text) < 6 else None
    return _Link(node, url, text, signs, None if number in _YEARS else number) if url else None


@lru_cache(maxsize=16_384)  # of a site, nearly all links stand on all pages
def _signs(text: str, label: str, rel: str | None, names: str) -> Mapping[str, bool] | None:
    """What a link says and is called; ``None`` where that is nothing."""
    signs = dict.fromkeys(_text_signs(text), True)
    if label:
        labelled = _text_signs(label)
        signs["is labelled next"] = bool({"says next", "says older"} & set(labelled))
        signs["is labelled back"] = "says back" in labelled
    rels = (rel or "").lower().split()
    signs |= {
        "rel next": "next" in rels,
        "rel prev": "prev" in rels,
        "named next": bool(names) and _NAMED_NEXT.search(names) is not None,
        "named back": bool(names) and _NAMED_BACK.search(names) is not None,
    }
    is_number = text.isdecimal() and len(text) < 6
    return MappingProxyType(signs) if is_number or any(signs.values()) else None


def _around(link: _Link) -> list[LexborNode]:
    if not link.around:
        above = link.node.parent
        while above is not None and len(link.around) < 4 and above.tag not in ("body", "html"):
            link.around.append(above)
            above = above.parent
    return link.around


@dataclass(slots=True)
class _Row:
    """An element that holds links with numbers."""

    element: LexborNode
    numbers: list[int] = field(default_factory=list)


def _numbers(links: Sequence[_Link]) -> dict[int, _Row]:
    """The elements around links with numbers, up to three levels, by ``mem_id``."""
    rows: dict[int, _Row] = {}
    for link in links:
        if link.number is not None:
            for element in _around(link)[:3]:
                rows.setdefault(element.mem_id, _Row(element)).numbers.append(link.number)
    return rows


def _current(rows: dict[int, _Row], url: str) -> int | None:
    """The number of this page, as its pager shows it or its address says it."""
    for row in rows.values():
        if not 0 < len(row.numbers) < _MOST_NUMBERS:
            continue
        for node in row.element.css("*"):
            child = node.first_child
            if child is None or not child.is_text_node or node.tag == "a":
                continue
            text = (child.text_content or "").strip("[]() .-–|\n\t")
            number = int(text) if text.isdecimal() and len(text) < 6 else -1
            beside = {number - 1, number + 1} & set(row.numbers)
            if number >= 0 and number not in (*row.numbers, *_YEARS) and beside:
                return number
    if found := _PAGE_NUMBER.search(url):
        return int(found[1])
    if any(2 in row.numbers and 1 not in row.numbers for row in rows.values()):
        return 1
    return None


def _describe(
    link: _Link, url: str, parts: dict[str, str], current: int | None, rows: dict[int, _Row]
) -> Features:
    number = link.number
    after = number is not None and number == (current or 1) + 1
    found = {
        **link.signs,
        "the number after this one": after and current is not None,
        "two, where no page is marked": after and current is None,
        "another number": number is not None and not after,
    }
    if not any(found.values()):
        return {}
    step = _step(parts, _parts(link.url))
    found |= {
        "address counts up": step == "up",
        "address gains a number": step == "first",
        "address counts down": step == "down",
    }
    forward = any(found.get(name) for name in _FORWARD_SIGNS)
    counts = step in ("up", "first")
    around = _around(link)
    outer = " | ".join(map(_called, around))
    if (
        _OFF.search(f"{_called(link.node)} {outer.partition(' | ')[0]}")
        or "aria-disabled" in link.node.attributes
    ):
        return {}
    if _COMMENTS.search(outer) or "cpage=" in link.url:
        return {}
    pager = bool(_PAGER.search(outer))
    numbered = any(
        element.mem_id in rows and len(set(rows[element.mem_id].numbers)) > 1
        for element in around[:3]
    )
    found |= {
        "next, and the address counts": forward and counts,
        "next, in a pager": forward and pager,
        "next, among numbers": forward and numbered,
        "an arrow, and the address counts": "an arrow forward" in found and counts,
        "the number, and the address counts": after and counts,
        "the number, in a pager": after and (pager or numbered),
        "in a calendar": bool(_CALENDAR.search(outer)) or _to_month(parts, _parts(link.url)),
        "in a slider": bool(_SLIDES.search(outer)),
        "another language": "hreflang" in link.node.attributes,
        "another site": urlsplit(link.url).netloc != urlsplit(url).netloc,
        "another section": not _same_section(url, link.url),
        "long text": len(link.text) > 20,
        "any": True,
    }
    return {name: 1.0 for name, true in found.items() if true}


def _names(node: LexborNode, attributes: Mapping[str, str | None], text: str) -> str:
    """What a link is called: itself, the icon in it, and the item that it stands in."""
    names = _names_of(attributes)
    if len(text) < 3:
        icons = node.css("i, span, svg, img")[:3]
        names = " ".join([names, *map(_called, icons)])
    parent = node.parent
    if parent is not None and parent.tag in _ITEMS and (above := parent.attributes):
        return f"{names} {_names_of(above)}"
    return names


def _called(node: LexborNode) -> str:
    return _names_of(node.attributes)


def _names_of(attributes: Mapping[str, str | None]) -> str:
    get = attributes.get
    return f"{get('class') or ''} {get('id') or ''} {get('aria-label') or ''}" if attributes else ""


@lru_cache(maxsize=4096)
def _text_signs(text: str) -> tuple[str, ...]:
    """What a link's text, or its label, says of where it leads."""
    word = text.casefold().strip(_EDGES)
    signs = {
        "says next": _says(word, _NEXT),
        "says older": _says(word, _OLDER),
        "says more": _says(word, _MORE),
        "says next of a thing": _NEXT_THING.search(word) is not None and _says(word, _NEXT),
        "says back": _says(word, _BACK),
        "an arrow forward": _FORWARD.match(text) is not None,
        "an arrow to the end": _END.match(text) is not None,
        "an arrow backward": _BACKWARD.match(text) is not None,
    }
    return tuple(name for name, true in signs.items() if true)


def _says(text: str, words: frozenset[str]) -> bool:
    """Whether a text is one of these words or, of a few words, holds one: "Go to the next page"."""
    if not text or text in words:
        return bool(text)
    if ": " in text:  # "Next: the summer fair" names one thing
        return False
    parts = text.split()
    if not 1 < len(parts) <= 5:
        return False
    if len(parts) < 4 and any(part.strip(_EDGES) in words for part in parts):
        return True
    ends = (" ".join(parts[:n]) for n in range(2, len(parts)))
    starts = (" ".join(parts[n:]) for n in range(1, len(parts) - 1))
    return any(part.strip(_EDGES) in words for part in (*ends, *starts))


def _step(here: dict[str, str], there: dict[str, str]) -> str | None:
    """How a number in the address changes: "up", "down", or from none to a page's: "first"."""
    changed = [key for key in there if key in here and here[key] != there[key]]
    gained = [key for key in there if key not in here]
    lost = [key for key in here if key not in there]
    if len(changed) == 1 and not gained and not lost:
        key = changed[0]
        a, b = _NUMBER.findall(here[key]), _NUMBER.findall(there[key])
        if len(a) == len(b) and _NUMBER.sub("", here[key]) == _NUMBER.sub("", there[key]):
            steps = [(int(x), int(y)) for x, y in zip(a, b, strict=True) if x != y and len(y) < 10]
            if len(steps) == 1 and not all(number in _YEARS for number in steps[0]):
                return "up" if steps[0][1] > steps[0][0] else "down"
        return None
    if not changed and not lost and 1 <= len(gained) <= 2:
        numbers = _NUMBER.findall(" ".join(there[key] for key in gained))
        told = any(_PAGE_WORD.search(f"{key.partition(' ')[2]} {there[key]}") for key in gained)
        if numbers and len(numbers[-1]) < 5 and (told or numbers[-1] in ("1", "2")):
            return "first"
    return None


def _to_month(here: dict[str, str], there: dict[str, str]) -> bool:
    """Whether an address names a month or a day that this page's does not: a calendar's arrow."""
    return any(_MONTH.fullmatch(value) for key, value in there.items() if here.get(key) != value)


@lru_cache(maxsize=4096)
def _parts(url: str) -> dict[str, str]:
    """An address as named parts: the host, each segment of the path, each parameter."""
    try:
        parts = urlsplit(url)
        pairs = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return {}
    path = re.sub(r"/(?:index|default)\.\w+$", "/", parts.path).rstrip("/")
    named = {"host": parts.netloc.removeprefix("www.")}
    named |= {f"path {n}": segment for n, segment in enumerate(path.split("/")) if segment}
    return named | {f"query {key}": value for key, value in pairs}


def _same_section(url: str, target: str) -> bool:
    first = [urlsplit(each).path.strip("/").split("/")[0].split(".")[0] for each in (url, target)]
    return not first[0] or first[0] == first[1]


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:
        return ""


def _plain(url: str) -> str:
    return url.partition("#")[0].rstrip("/")
