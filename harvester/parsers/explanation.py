"""Why a page is read as it is, for the person who asks: what was weighed, and what tipped the scales."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from harvester.page import Page
from harvester.parsers.columns import Column, Places
from harvester.parsers.features import Sheet, beside
from harvester.parsers.induction import groups_of, learn
from harvester.parsers.metadata import declared_entries
from harvester.parsers.outline import Outline, outline
from harvester.parsers.pagination import describe_links
from harvester.parsers.rankers import Features, score, weights
from harvester.parsers.ranking import Judged, ranked
from harvester.parsers.tree import base_url, parse

_MOST: Final = 7  # reasons for one choice


def explain(
    page: Page, language: str | None = None, hint: Mapping[str, Any] | None = None
) -> Iterator[str]:
    """Lines that say what learning weighed on a page.  Raises ``Unreadable``."""
    tree = parse(page.utf8)
    whole = outline(tree)
    hint = dict(hint or {})
    groups = groups_of(tree, whole, hint)
    base = base_url(tree, page.url)
    declared = declared_entries(tree, base)
    judged = ranked(whole, Places(whole), groups, hint, declared, base)
    learned = learn(tree, language, hint, page.url)
    yield f"{len(groups)} groups repeat on this page; {len(judged)} were looked into:"
    for each in judged:
        yield f"  {each.score:6.2f}  {len(each.sheet.group.spans):4} records  {_first(whole, each)}"
    if judged:
        rival = judged[1].features if len(judged) > 1 else {}
        yield "what tells the first from the second:"
        yield f"  {_why(judged[0].features, weights()['listing'], rival)}"
        yield from _fields(whole, judged[0])
    doubts = dict(learned.evidence.doubts)
    yield f"confidence {learned.evidence.confidence:.2f}:"
    yield f"  {_why(doubts, weights()['confidence'], {'any': 1.0})}"
    table = weights()["next"]
    links = describe_links(tree, page.url, base)
    links.sort(key=lambda link: -score(link.features, table))
    for link in links[:2]:
        value = score(link.features, table)
        signs = ", ".join(name for name in link.features if name != "any")
        yield f"next page {'?' if value <= 0 else ''} {link.url}  {value:.2f}: {signs}"


def _first(page: Outline, judged: Judged) -> str:
    title = judged.roles.title
    texts = [text for text in title.texts if text] if title else []
    span = judged.sheet.group.spans[0]
    return (texts[0] if texts else page.text(span.first, min(span.last, span.first + 5)))[:70]


def _fields(page: Outline, judged: Judged) -> Iterator[str]:
    sheet, roles = judged.sheet, judged.roles
    for name in ("title", "date", "teaser"):
        column: Column | None = getattr(roles, name)
        if column is None:
            yield f"{name}: none of {len(sheet.columns)} columns"
            continue
        example = next((text for text in column.texts if text), "")
        yield f"{name}: {column.selector!r}, as in {example[:60]!r}"
        if column in sheet.columns:
            yield f"  {_why(_of(page, sheet, column, name, judged), weights()[name], {})}"


def _of(page: Outline, sheet: Sheet, column: Column, name: str, judged: Judged) -> Features:
    features = sheet.features[sheet.columns.index(column)]
    if name == "teaser":
        features = features | beside(page, sheet, column, judged.roles.title, judged.roles.date)
    return features


def _why(features: Features, table: Mapping[str, float], rival: Features) -> str:
    """The features that weigh most, with what they add."""
    names: Sequence[str] = sorted(set(features) | set(rival))
    shares = {n: table.get(n, 0.0) * (features.get(n, 0.0) - rival.get(n, 0.0)) for n in names}
    heavy = sorted(names, key=lambda name: -abs(shares[name]))[:_MOST]
    return ", ".join(f"{shares[name]:+.2f} {name}" for name in heavy if shares[name])
