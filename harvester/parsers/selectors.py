"""From elements to a selector that finds just these: the inducing half of wrapper induction.

Selectors are tried from the plainest on: a class word, a tag, both; under a parent, under an ancestor;
then with a condition on what the records hold, and at last by position.  A selector counts only if it
finds exactly the wanted elements on the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations, islice
from typing import Final

from selectolax.lexbor import LexborHTMLParser, SelectolaxError

from harvester.parsers.columns import LOOKS, Places
from harvester.parsers.outline import Outline

_MOST_TRIES: Final = 120
_MOST_NEAR: Final = 6
_LEVELS: Final = 6
_MOST_OTHERS: Final = 0.2
_PARTS: Final = ("main", "article", "section", "table", "body")
_PREFIX: Final = re.compile(r"[A-Za-z][A-Za-z_-]{3,}")


def record_selector(
    tree: LexborHTMLParser,
    page: Outline,
    places: Places,
    records: Sequence[int],
    conditions: Sequence[str] = (),
) -> str | None:
    """A selector of exactly these elements, or of nearly these; ``None`` if there is none.

    ``conditions`` are selectors of what each of them holds.
    """
    wanted = {page.nodes[number].mem_id for number in records}
    near: dict[str, set[int]] = {}  # selectors that find others too, and these
    seen: set[str] = set()
    for selector in islice(_options(page, places, records), _MOST_TRIES):
        if selector in seen:
            continue
        seen.add(selector)
        found = _find(tree, selector)
        if found == wanted:
            return selector
        if found > wanted:
            near[selector] = found - wanted
    fewest = sorted(map(len, near.values()))[:_MOST_NEAR]
    for selector in [each for each in near if len(near[each]) <= fewest[-1]][:_MOST_NEAR]:
        for condition in _conditions(page, places, records, near[selector], conditions):
            if _find(tree, selector + condition) == wanted:
                return selector + condition
    for selector in islice(_positions(page, places, records), 10):
        for condition in ("", *(f":has({held})" for held in conditions)):
            if _find(tree, selector + condition) == wanted:
                return selector + condition
    # At last the one that finds the fewest others, if these are few.
    best = min(near, key=lambda selector: len(near[selector]), default=None)
    return best if best and len(near[best]) <= _MOST_OTHERS * len(wanted) else None


def _find(tree: LexborHTMLParser, selector: str) -> set[int]:
    try:
        return {node.mem_id for node in tree.css(selector)}
    except SelectolaxError:
        return set()


def _common(page: Outline, places: Places, numbers: Sequence[int]) -> tuple[str | None, list[str]]:
    """The tag and the class words that all these elements share."""
    tags = {places.tag(number) for number in numbers} - {"*"} or {""}
    shared = set(places.words(numbers[0])).intersection(*(places.words(n) for n in numbers))
    words = [word for word in dict.fromkeys(places.words(numbers[0])) if word in shared]
    words.sort(key=lambda word: LOOKS.fullmatch(word) is not None)
    return (tags.pop() or None if len(tags) == 1 else None), words


def _simple(tag: str | None, words: Sequence[str]) -> Iterator[str]:
    for word in words:
        yield f".{word}"
        if tag:
            yield f"{tag}.{word}"
    for pair in islice(combinations(words, 2), 6):
        yield f"{tag or ''}.{'.'.join(pair)}"
    if len(words) > 2:
        yield f"{tag or ''}.{'.'.join(words)}"
    if tag:
        yield tag


def _options(page: Outline, places: Places, records: Sequence[int]) -> Iterator[str]:
    tag, words = _common(page, places, records)
    own = list(_simple(tag, words))
    prefix = _common_prefix([page.attributes[number].get("id") or "" for number in records])
    if tag and _PREFIX.fullmatch(prefix):
        own.insert(0, f'{tag}[id^="{prefix}"]')
    yield from own
    plain = ([tag] if tag else []) + own[:3]
    level = list(records)
    chain = tag or "*"
    for depth in range(_LEVELS):
        above = [page.parent[number] for number in level]
        if any(number < 0 for number in above):
            return
        level = sorted(set(above))
        above_tag, above_words = _common(page, places, level)
        joint = " > " if depth == 0 else " "
        names = [f".{word}" for word in above_words[:4]]
        if len(level) == 1 and (name := places.identity(level[0])):
            names.insert(0, name)
        if above_tag and (depth == 0 or above_tag in _PARTS):
            names.append(above_tag)
        for name in names:
            for leaf in plain:
                yield f"{name}{joint}{leaf}"
            yield f"{name} > {chain}"
        chain = f"{above_tag or '*'} > {chain}"
        if depth > 0 and "*" not in chain:
            yield chain


def _common_prefix(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)  # all the others lie between them
    same = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    return first if same is None else first[:same]


def _conditions(
    page: Outline,
    places: Places,
    records: Sequence[int],
    extra: set[int],
    held: Sequence[str],
) -> Iterator[str]:
    """What tells the records from other elements with their name."""
    yield ":has(a[href])"
    for selector in held:
        yield f":has({selector})"
    others = [number for number, node in enumerate(page.nodes) if node.mem_id in extra]
    if others:
        _, words = _common(page, places, others)
        mine = {word for number in records for word in page.words[number]}
        for word in words:
            if word not in mine:
                yield f":not(.{word})"
    yield ":not([hidden])"
    yield ':not([style*="none"])'
    yield ":has(td)"
    yield ":nth-of-type(odd)"
    yield ":nth-of-type(even)"
    inside = [
        {name for n in page.children(number) for name in places.of(n) if " " not in name}
        for number in records
    ]
    for name in sorted(set.intersection(*inside), key=len):
        yield f":has(> {name})"


def _positions(page: Outline, places: Places, records: Sequence[int]) -> Iterator[str]:
    """By the places of the records' parents among their siblings."""
    tag, words = _common(page, places, records)
    parents = sorted({page.parent[number] for number in records})
    if len(parents) > 3 or parents[0] < 0:
        return
    paths = [_path(page, places, number) for number in parents]
    for leaf in _simple(tag, words[:2]):
        yield ", ".join(f"{path} > {leaf}" for path in paths)


def _path(page: Outline, places: Places, number: int) -> str:
    steps: list[str] = []
    while number >= 0:
        if name := places.identity(number):
            return " > ".join([name, *steps])
        steps.insert(0, places.tag(number) + _position(page, number))
        number = page.parent[number]
    return " > ".join(steps)


def _position(page: Outline, number: int) -> str:
    parent = page.parent[number]
    if parent < 0:
        return ""
    alike = [n for n in page.children(parent) if page.tag[n] == page.tag[number]]
    return f":nth-of-type({alike.index(number) + 1})" if len(alike) > 1 else ""
