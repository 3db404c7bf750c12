"""The next page of a listing.

Every link that could lead there is described by readable features: what it says (words for "next" in
many languages, arrows, the number after the current one), what it is called (classes, ``rel``,
labels), where it stands (a pager, among numbers) and where it leads (this page's address with a
higher number).  A linear ranker weighs them (``weights.toml``); none of them stands at 0.  A page that
is its own next page has none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
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
        "|بعدی|صفحه بعد|صفحه بعدی|הבא|הבאה|לעמוד הבא|पिछला|अगला|अगले|পরবর্তী|পরের|ถัดไป"
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
        "|posting lebih baru"
    ).split("|")
)
_MORE: Final = frozenset(
    (
        "more|load more|show more|view more|mehr|mehr laden|plus|voir plus|más|ver más|cargar más|mais"
        "|ver mais|więcej|více|viac|ещё|еще|показать ещё|ще|больш|altro|altri|meer|mer|flere|lisää|még"
        "|daha fazla|更多|もっと見る|もっと|더보기|المزيد|بیشتر|עוד|xem thêm|เพิ่มเติม|lainnya"
    ).split("|")
)
_EDGES: Final = " \t\xa0»›→>|·«‹←<.…⟩⟨▶►▸↓[]()-–—:+"
_FORWARD: Final = re.compile(r"^\s*(?:[»›→⟩▶►▸❯]+|>{1,2}|&gt;)\s*$")
_END: Final = re.compile(r"^\s*(?:»»|>>|»\||>\||[⏭⇥])\s*$")
_BACKWARD: Final = re.compile(r"^\s*(?:[«‹←⟨◀◄❮]+|<{1,2})\s*$")
_NAMED_NEXT: Final = re.compile(
    r"(?:^|[-_ ])(?:nxt|next\w*|older\w*|forward|weiter|suivant\w*|siguiente|seguinte|volgende|nasta)"
    r"(?:$|[-_ ])|next(?:page|link|post|btn)|nextLink|NextPage|arrow-?right|right-?arrow",
    re.IGNORECASE,
)
_NAMED_BACK: Final = re.compile(
    r"(?:^|[-_ ])(?:prev\w*|newer\w*|back|first|last)(?:$|[-_ ])|arrow-?left|disabled", re.IGNORECASE
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
_SHORT: Final = 40


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
    return best.url if best and score(best.features, table) > 0 else None


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
    text: str
    around: list[LexborNode]
    names: str  # its own class, id and labels
    outer: str  # those of the elements around it
    number: int | None = None
    siblings: list[int] = field(default_factory=list)


def describe_links(tree: LexborHTMLParser, url: str, base: str) -> list[Option]:
    """The addresses that anything speaks for, with all that does: links to the same place add up."""
    here = _plain(url)
    links = [link for node in tree.css("a[href], link[rel~=next][href]") if (link := _link(node, base))]
    links = [link for link in links if _plain(link.url) != here]
    numbers = _numbered(links)
    current = _current(tree, numbers, url)
    found: dict[str, Option] = {}
    shown = {_plain(link.url) for link in links if link.node.tag == "a"}
    for link in links:
        features = _describe(link, url, current)
        if not features:
            continue
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
    url = absolute(href, base)
    if url is None:
        return None
    text = text_of(node)
    if len(text) > _SHORT:
        return None
    labels = [attributes.get(name) or "" for name in ("aria-label", "title")]
    if not text and (image := node.css_first("img[alt], img[title]")):
        labels += [image.attributes.get("alt") or "", image.attributes.get("title") or ""]
    around: list[LexborNode] = []
    above = node.parent
    while above is not None and len(around) < 4 and above.tag not in ("body", "html"):
        around.append(above)
        above = above.parent
    words = [attributes.get(name) or "" for name in ("class", "id")]
    words += [
        element.attributes.get("class") or ""
        for element in node.css("i, span, svg, img")[:3]
        if element.mem_id != node.mem_id
    ]
    outer = [
        " ".join(element.attributes.get(name) or "" for name in ("class", "id", "aria-label"))
        for element in around
    ]
    found = _Link(node, url, text or next(filter(None, labels), ""), around, " ".join(words), "")
    found.outer = " | ".join(outer)
    found.names += " " + (outer[0] if around and around[0].tag in ("li", "span", "div", "p") else "")
    if text.isdecimal() and len(text) < 6:
        found.number = int(text)
    return found


def _numbered(links: Sequence[_Link]) -> dict[int, list[int]]:
    """The numbers that the links in each element say, by element."""
    numbers: dict[int, list[int]] = {}
    for link in links:
        if link.number is not None:
            for element in link.around[:3]:
                numbers.setdefault(element.mem_id, []).append(link.number)
    for link in links:
        for element in link.around[:3]:
            found = numbers.get(element.mem_id, [])
            if len(found) > len(link.siblings):
                link.siblings = found
    return numbers


def _current(tree: LexborHTMLParser, numbers: dict[int, list[int]], url: str) -> int | None:
    """The number of this page, as its pager shows it or its address says it."""
    for node in tree.css(
        "[aria-current], .current, .active, .selected, .pager-current, .on, li[class], strong, b, em, span"
    ):
        text = text_of(node) if node.first_child is not None else ""
        text = text.strip("[]() .-–|")
        if not (text.isdecimal() and len(text) < 6) or node.css_first("a[href]") is not None:
            continue
        above: LexborNode | None = node
        for _ in range(4):
            above = above.parent if above is not None else None
            beside = numbers.get(above.mem_id, []) if above is not None else []
            if beside and int(text) not in beside and _fits(int(text), beside):
                return int(text)
    found = re.search(r"(?:page|paged|pagina|seite|p|PAGEN_1)[=/_-]?(\d{1,4})(?:\D|$)", url)
    if found:
        return int(found[1])
    for beside in numbers.values():
        if 2 in beside and 1 not in beside:
            return 1
    return None


def _fits(number: int, beside: Sequence[int]) -> bool:
    return number + 1 in beside or number - 1 in beside


def _describe(
    link: _Link, url: str, current: int | None
) -> Features:
    text = link.text.casefold().strip(_EDGES)
    label = " ".join(
        (link.node.attributes.get(name) or "") for name in ("aria-label", "title")
    ).casefold()
    label = label.strip(_EDGES)
    rel = (link.node.attributes.get("rel") or "").lower().split()
    step = _step(url, link.url)
    number = link.number
    after = number is not None and number == (current or 1) + 1
    found = {
        "says next": text in _NEXT or _holds(text, _NEXT),
        "says older": text in _OLDER or _holds(text, _OLDER),
        "says more": text in _MORE or _holds(text, _MORE),
        "is labelled next": label in _NEXT or label in _OLDER or _holds(label, _NEXT | _OLDER),
        "says back": text in _BACK or _holds(text, _BACK),
        "is labelled back": label in _BACK or _holds(label, _BACK),
        "rel next": "next" in rel,
        "rel prev": "prev" in rel,
        "an arrow forward": bool(_FORWARD.match(link.text)),
        "an arrow to the end": bool(_END.match(link.text)),
        "an arrow backward": bool(_BACKWARD.match(link.text)),
        "named next": bool(_NAMED_NEXT.search(link.names)),
        "named back": bool(_NAMED_BACK.search(link.names)),
        "the number after this one": after and current is not None,
        "two, where no page is marked": after and current is None,
        "another number": number is not None and not after,
        "address counts up": step in ("one", "more"),
        "address gains a number": step == "first",
        "address counts down": step == "back",
    }
    if not any(found.values()):
        return {}
    forward = found["says next"] or found["says older"] or found["rel next"] or found["says more"] or found["named next"]
    counts = step in ("one", "more", "first")
    pager = bool(_PAGER.search(link.outer))
    numbered = len(set(link.siblings)) > 1
    found |= {
        "next, and the address counts": forward and counts,
        "next, in a pager": forward and pager,
        "next, among numbers": forward and numbered,
        "an arrow, and the address counts": found["an arrow forward"] and counts,
        "the number, and the address counts": after and counts,
        "the number, in a pager": after and (pager or numbered),
        "in a calendar": bool(_CALENDAR.search(link.outer)),
        "in a slider": bool(_SLIDES.search(link.outer)),
        "another language": "hreflang" in link.node.attributes,
        "another site": urlsplit(link.url).netloc != urlsplit(url).netloc,
        "another section": not _same_section(url, link.url),
        "long text": len(link.text) > 20,
        "any": True,
    }
    return {name: 1.0 for name, true in found.items() if true}


def _holds(text: str, words: frozenset[str]) -> bool:
    """Whether a text of a few words holds one of them: "Next 10", "Go to the next page"."""
    parts = text.split()
    if not 1 < len(parts) <= 5:
        return False
    if any(part.strip(_EDGES) in words for part in parts[1:-1]):
        return True
    ends = (" ".join(parts[:n]) for n in range(1, len(parts)))
    starts = (" ".join(parts[n:]) for n in range(1, len(parts)))
    return any(part.strip(_EDGES) in words for part in (*ends, *starts))


def _step(url: str, target: str) -> str | None:
    """How a number in the address changes: by one, by more, down, or from none to a page's number."""
    here, there = _parts(url), _parts(target)
    changed = [key for key in there if key in here and here[key] != there[key]]
    gained = [key for key in there if key not in here]
    lost = [key for key in here if key not in there]
    if len(changed) == 1 and not gained and not lost:
        key = changed[0]
        a, b = _NUMBER.findall(here[key]), _NUMBER.findall(there[key])
        if len(a) == len(b) and _NUMBER.sub("", here[key]) == _NUMBER.sub("", there[key]):
            steps = [int(y) - int(x) for x, y in zip(a, b, strict=True) if x != y and len(y) < 10]
            if len(steps) == 1:
                return "one" if steps[0] == 1 else "more" if steps[0] > 0 else "back"
        return None
    if not changed and not lost and 1 <= len(gained) <= 2:
        numbers = _NUMBER.findall(" ".join(there[key] for key in gained))
        told = any(_PAGE_WORD.search(f"{key.partition(' ')[2]} {there[key]}") for key in gained)
        if numbers and len(numbers[-1]) < 5 and (told or numbers[-1] in ("1", "2")):
            return "first"
    return None


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


def _plain(url: str) -> str:
    return url.partition("#")[0].rstrip("/")
