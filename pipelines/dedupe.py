"""Tell new entries, repeats, edits and old acquaintances apart.  Pure: decisions are returned.

The rules, in their order, for one record of one fetched page:

1. An address that belongs to one entry identifies it.  An address does not when different entries of
   the page share it, when it is the listing itself or a front above it, or when several known rows
   already carry it.
2. The same title, teaser and date are the same entry under another address.
3. Everything else is new.

Within a run the first copy speaks; later copies are repeats, which may add an address or fill a gap.
A later run that shows another title, teaser, date or label has found an edit.  A run that is older
than the last one that saw the row (an archive read late) can add history, never overwrite.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import Final

from pipelines import identity
from pipelines.entry import Precision, Reason, Record, Rejected, Sighting


class Verdict(StrEnum):
    """What a sighting turned out to be."""

    NEW = "new"
    REPEAT = "repeat"
    REVISED = "revised"
    SEEN = "seen"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, and the row as it is after it."""

    verdict: Verdict
    record: Record
    run_id: str


def seen_order(sighting: Sighting) -> tuple[str, datetime, str, int]:
    """The order in which sightings are judged; it does not depend on the order they came in."""
    return (sighting.run_id, sighting.fetched_at, sighting.page_url, sighting.position)


def decide(
    sightings: Iterable[Sighting], known: Iterable[Record], hosts: frozenset[str]
) -> list[Decision | Rejected]:
    """One decision for each normalised sighting of one source, in ``seen_order``.

    ``known`` are the source's rows so far, ``hosts`` the hosts that are the source itself (without
    ``www.``).  The rows after the decisions are the last ``record`` of each ``entry_id``.
    """
    judge = Judge(known, hosts)
    ordered = sorted(sightings, key=seen_order)
    return [
        decision
        for _, page in groupby(ordered, key=lambda s: (s.run_id, s.fetched_at, s.page_url))
        for decision in judge.page(list(page))
    ]


class Judge:
    """The rows of one source as they stand after the decisions so far, found by address and content.

    Pages must come in the order of ``seen_order``.
    """

    def __init__(self, known: Iterable[Record], hosts: frozenset[str]) -> None:
        self._hosts = hosts
        self._rows: dict[str, Record] = {}
        self._by_address: dict[str, set[str]] = {}
        self._by_content: dict[str, str] = {}
        self._touched: set[tuple[str, str]] = set()  # (run, entry): decided in that run already
        for row in known:
            self._rows[row.entry_id] = row
            own = self._own(row.page_url)
            for url in row.urls:
                self._by_address.setdefault(identity.address_key(url, own), set()).add(row.entry_id)
            content = identity.fingerprint(row)
            if content and identity.tells_apart(row):
                self._by_content.setdefault(content, row.entry_id)

    def page(self, page: Sequence[Sighting]) -> Iterator[Decision | Rejected]:
        """Decide the records of one fetch of one page, which have their page's context in common."""
        own = self._own(page[0].page_url) if page else self._hosts
        keys = [identity.address_key(s.url, own) if s.url else None for s in page]
        shared = _shared(keys, page)
        copies: Counter[str] = Counter()
        for sighting, address in zip(page, keys, strict=True):
            inward = sighting.url and identity.leads_inward(sighting.url, sighting.page_url)
            key = address if inward and address not in shared else None
            content = identity.fingerprint(sighting)
            row, basis = self._find(sighting, key, content)
            if row is None and basis is None:
                yield Rejected(sighting, Reason.NO_IDENTITY)
                continue
            decision = self._judge(sighting, row, basis)
            copies[decision.record.entry_id] += 1
            if copies[decision.record.entry_id] > decision.record.repeats:
                record = replace(decision.record, repeats=copies[decision.record.entry_id])
                decision = Decision(decision.verdict, record, decision.run_id)
            self._store(decision.record, key, content if identity.tells_apart(sighting) else None)
            yield decision

    def _own(self, page_url: str) -> frozenset[str]:
        host = identity.host_of(page_url)
        return self._hosts if host in self._hosts else self._hosts | {host}

    def _find(
        self, sighting: Sighting, key: str | None, content: str | None
    ) -> tuple[Record | None, str | None]:
        """The row this is a sighting of, or what a new row would be known by."""
        if key is not None:
            rows = self._by_address.get(key, ())
            if len(rows) == 1:
                return self._rows[next(iter(rows))], key
            if rows:
                key = None
        if content and identity.tells_apart(sighting) and content in self._by_content:
            return self._rows[self._by_content[content]], content
        basis = key or content
        if basis is None:
            return None, None
        return self._rows.get(identity.entry_id(sighting.source, basis)), basis

    def _judge(self, sighting: Sighting, row: Record | None, basis: str | None) -> Decision:
        run_id = sighting.run_id
        if row is None:
            assert basis is not None
            row = _first(sighting, identity.entry_id(sighting.source, basis))
            self._touched.add((run_id, row.entry_id))
            return Decision(Verdict.NEW, row, run_id)
        merged = _sighted(row, sighting)
        if (run_id, row.entry_id) in self._touched:
            return Decision(Verdict.REPEAT, _filled(merged, sighting), run_id)
        self._touched.add((run_id, row.entry_id))
        if run_id >= row.run_id and _edited(row, sighting):
            return Decision(Verdict.REVISED, _revised(merged, sighting), run_id)
        return Decision(Verdict.SEEN, _filled(merged, sighting), run_id)

    def _store(self, row: Record, key: str | None, content: str | None) -> None:
        self._rows[row.entry_id] = row
        if key is not None:
            self._by_address.setdefault(key, set()).add(row.entry_id)
        if content is not None:
            self._by_content.setdefault(content, row.entry_id)


def _shared(keys: Sequence[str | None], page: Sequence[Sighting]) -> set[str]:
    """The address keys that different entries of one page have in common.

    Copies of one entry (a lead card and its line in the list) may differ in their teaser, but not in
    title or date where both print one.
    """
    first: dict[str, Sighting] = {}
    shared: set[str] = set()
    for key, entry in zip(keys, page, strict=True):
        if key is None:
            continue
        other = first.setdefault(key, entry)
        if _differ(entry.title, other.title) or (
            entry.published and other.published and entry.day != other.day
        ):
            shared.add(key)
    return shared


def _differ(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other


def _first(sighting: Sighting, entry_id: str) -> Record:
    return Record(
        entry_id=entry_id,
        source=sighting.source,
        kind=sighting.kind,
        title=sighting.title,
        url=sighting.url,
        urls=(sighting.url,) if sighting.url else (),
        published=sighting.published,
        published_precision=sighting.published_precision,
        published_raw=sighting.published_raw,
        teaser=sighting.teaser,
        teaser_truncated=sighting.teaser_truncated,
        language=sighting.language,
        story_id=entry_id,
        repeats=1,
        revision=1,
        first_seen=sighting.fetched_at,
        last_seen=sighting.fetched_at,
        missing_since=None,
        page_url=sighting.page_url,
        position=sighting.position,
        warc_file=sighting.warc_file,
        warc_record_id=sighting.warc_record_id,
        run_id=sighting.run_id,
    )


def _sighted(row: Record, sighting: Sighting) -> Record:
    """The row with one more sighting of it: when, where first, under which addresses."""
    changes: dict[str, object] = {}
    if sighting.url and sighting.url not in row.urls:
        changes["urls"] = (*row.urls, sighting.url)
        if row.url is None:
            changes["url"] = sighting.url
    if sighting.fetched_at > row.last_seen:
        changes["last_seen"] = sighting.fetched_at
    if sighting.run_id > row.run_id:
        changes["run_id"] = sighting.run_id
    seen = (sighting.fetched_at, sighting.page_url, sighting.position)
    if seen < (row.first_seen, row.page_url, row.position):
        changes.update(first_seen=seen[0], page_url=seen[1], position=seen[2])
        if row.revision == 1 and not _edited(row, sighting):
            changes.update(warc_file=sighting.warc_file, warc_record_id=sighting.warc_record_id)
    return replace(row, **changes) if changes else row  # type: ignore[arg-type]


def _edited(row: Record, sighting: Sighting) -> bool:
    """Whether the source now says something else.  Saying less, or cutting elsewhere, is no edit."""
    return (
        _differ(row.title, sighting.title)
        or _differ(row.kind, sighting.kind)
        or not _same_teaser(row, sighting)
        or not _same_date(row, sighting)
    )


def _same_teaser(row: Record, sighting: Sighting) -> bool:
    old, new = row.teaser, sighting.teaser
    if old is None or new is None or old == new:
        return True
    return (row.teaser_truncated and new.startswith(old)) or (
        sighting.teaser_truncated and old.startswith(new)
    )


_SHOWN: Final[dict[Precision | str | None, int]] = {
    "year": 4, "month": 7, "day": 10, "minute": 16, "second": 19
}  # fmt: skip


def _same_date(row: Record, sighting: Sighting) -> bool:
    """Equal as far as both were printed.  A relative date is frozen when it is first seen."""
    if row.published is None or sighting.published is None or sighting.published_relative:
        return True
    shown = min(_SHOWN[row.published_precision], _SHOWN[sighting.published_precision])
    return row.published.isoformat()[:shown] == sighting.published.isoformat()[:shown]


def _filled(row: Record, sighting: Sighting) -> Record:
    """The row with the gaps filled that this sighting can fill, and the fuller teaser of two."""
    changes: dict[str, object] = {}
    if row.title is None and sighting.title is not None:
        changes["title"] = sighting.title
    if row.kind is None and sighting.kind is not None:
        changes["kind"] = sighting.kind
    if row.published is None and sighting.published is not None:
        changes.update(_date(sighting))
    elif row.published_raw is None and sighting.published_raw is not None:
        changes["published_raw"] = sighting.published_raw
    if sighting.teaser is not None and (
        row.teaser is None
        or (
            row.teaser_truncated
            and len(sighting.teaser) > len(row.teaser)
            and _same_teaser(row, sighting)
        )
    ):
        changes.update(teaser=sighting.teaser, teaser_truncated=sighting.teaser_truncated)
    return replace(row, **changes) if changes else row  # type: ignore[arg-type]


def _revised(row: Record, sighting: Sighting) -> Record:
    """The row as the source now has it; what the new version does not show is kept."""
    changes: dict[str, object] = {
        "revision": row.revision + 1,
        "warc_file": sighting.warc_file,
        "warc_record_id": sighting.warc_record_id,
    }
    if sighting.title is not None:
        changes["title"] = sighting.title
    if sighting.kind is not None:
        changes["kind"] = sighting.kind
    if sighting.teaser is not None and not _same_teaser(row, sighting):
        changes.update(teaser=sighting.teaser, teaser_truncated=sighting.teaser_truncated)
    if sighting.published is not None and not _same_date(row, sighting):
        changes.update(_date(sighting))
    return _filled(replace(row, **changes), sighting)  # type: ignore[arg-type]


def _date(sighting: Sighting) -> dict[str, object]:
    return {
        "published": sighting.published,
        "published_precision": sighting.published_precision,
        "published_raw": sighting.published_raw,
    }
