"""Tell new entries, repeats, edits and old acquaintances apart.  Pure: decisions are returned.

The rules, in their order, for one record of one fetched page:

0. The sighting that a row began with is that row, however often it is read again.
1. An address that belongs to one entry identifies it.  An address does not when different entries of
   the page share it, when it is the listing itself or a front above it, or when several known rows
   already carry it.
2. The same title, teaser and date are the same entry under another address.  A record without an
   address of its own may print less than the entry, but nothing else.
3. Everything else is new.

Within a run the first copy speaks; later copies are repeats, which may add an address or fill a gap.
A later run that shows another title, teaser, date or label has found an edit.  A run that is older
than the last one that saw the row (an archive read late) can add history, never overwrite.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import Final

from pipelines import identity, merge
from pipelines.entry import Reason, Record, Rejected, Sighting, row_order

_NOTHING: Final[Mapping[str, Container[str]]] = {}


class Verdict(StrEnum):
    """What a sighting turned out to be."""

    NEW = "new"
    REPEAT = "repeat"
    REVISED = "revised"
    SEEN = "seen"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict on a sighting, and the row as it is after it."""

    verdict: Verdict
    record: Record
    sighting: Sighting

    @property
    def run_id(self) -> str:
        """The run that the sighting is of."""
        return self.sighting.run_id


def seen_order(sighting: Sighting) -> tuple[str, datetime, str, str, int]:
    """The order in which sightings are judged; it does not depend on the order they came in."""
    return (sighting.run_id, *page_key(sighting), sighting.position)


def page_key(sighting: Sighting) -> tuple[datetime, str, str]:
    """Tells the fetch of a page from others of its run."""
    return (sighting.fetched_at, sighting.page_url, sighting.warc_record_id)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The decisions on some sightings, and the rows after them, by ``entry_id``."""

    decisions: list[Decision | Rejected]
    rows: Mapping[str, Record]


def decide(
    sightings: Iterable[Sighting],
    known: Iterable[Record],
    hosts: Mapping[str, frozenset[str]],
    after_run: Callable[[Judge, str], None] = lambda judge, run_id: None,
    ended: Collection[str] = (),
    touched: Mapping[str, Container[str]] = _NOTHING,
) -> Outcome:
    """One decision for each normalised sighting of one source, in ``seen_order``.

    ``known`` are the source's rows so far, or those that the sightings could be of; ``hosts`` for each
    run the hosts that are the source itself (without ``www.``): what an address identifies is judged
    as it was in that run.  ``after_run`` is called with the judge when the sightings of a run that has
    ``ended`` are decided.  ``touched`` are the entries that were decided in a run already, before these.
    """
    decisions: list[Decision | Rejected] = []
    judge = Judge(known, frozenset(), touched)
    groups = groupby(sorted(sightings, key=seen_order), key=lambda s: s.run_id)
    by_run = {run_id: list(group) for run_id, group in groups}
    for run_id in sorted({*by_run, *ended}):
        judge = judge.for_hosts(hosts[run_id])
        for _, page in groupby(by_run.get(run_id, ()), key=page_key):
            decisions += judge.page(list(page))
        if run_id in ended:
            after_run(judge, run_id)
    return Outcome(decisions, judge.rows)


class Judge:
    """The rows of one source as they stand after the decisions so far, found by address and content.

    Pages must come in the order of ``seen_order``.
    """

    def __init__(
        self,
        known: Iterable[Record],
        hosts: frozenset[str],
        touched: Mapping[str, Container[str]] = _NOTHING,
    ) -> None:
        self._hosts = hosts
        self._touched_before = touched
        self._rows: dict[str, Record] = {}
        # Both are functions of the rows alone, so that a row found now is found after a restart.
        self._by_address: dict[str, set[str]] = {}
        self._by_content: dict[str, set[str]] = {}
        self._by_words: dict[str, set[str]] | None = None
        self._by_birth: dict[tuple[datetime, str, int], str] = {}
        self._touched: set[tuple[str, str]] = set()  # (run, entry): decided in that run already
        self.know(known)

    @property
    def rows(self) -> Mapping[str, Record]:
        """The rows as they stand, by ``entry_id``."""
        return self._rows

    def know(self, rows: Iterable[Record]) -> None:
        """Take in stored rows; those that are known already stay as they stand."""
        for row in rows:
            if row.entry_id not in self._rows:
                self._add(row, self._addresses(row), _content(row))

    def replace(self, row: Record) -> None:
        """A row as it stands after something else than a sighting changed it."""
        self._rows[row.entry_id] = row

    def for_hosts(self, hosts: frozenset[str]) -> Judge:
        """This judge, or one with the same rows for a run with other hosts."""
        return (
            self
            if hosts == self._hosts
            else Judge(self._rows.values(), hosts, self._touched_before)
        )

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
            found = self._find(sighting, key, content)
            if found is None:
                yield Rejected(sighting, Reason.NO_IDENTITY)
                continue
            decision = self._judge(sighting, found)
            copies[decision.record.entry_id] += 1
            if copies[decision.record.entry_id] > decision.record.repeats:
                record = replace(decision.record, repeats=copies[decision.record.entry_id])
                decision = Decision(decision.verdict, record, sighting)
            if decision.verdict is Verdict.NEW:
                told = content if identity.tells_apart(sighting) else None
                self._add(decision.record, [address] if address else [], told)
            else:
                self._change(decision.record)
            yield decision

    def _own(self, page_url: str) -> frozenset[str]:
        host = identity.host_of(page_url)
        return self._hosts if host in self._hosts else self._hosts | {host}

    def _find(
        self, sighting: Sighting, key: str | None, content: str | None
    ) -> Record | str | None:
        """The row this is a sighting of, or the id of a new row; ``None`` when nothing identifies it."""
        born = self._by_birth.get((sighting.fetched_at, sighting.page_url, sighting.position))
        if born is not None:
            return self._rows[born]
        if key is not None and (found := self._by_address.get(key)):
            rows = sorted((self._rows[entry_id] for entry_id in found), key=row_order)
            if len(rows) == 1 and not self._is_another(rows[0], sighting):
                return rows[0]
            # Several entries have been seen here, so the address does not say which one this is.
            for row in rows:
                if not merge.edited(row, sighting):
                    return row
            key = None
        if identity.tells_apart(sighting):
            if key is None:
                alike = [row for row in self._worded(sighting) if merge.agrees(row, sighting)]
            else:
                alike = [
                    self._rows[entry_id] for entry_id in self._by_content.get(content or "", ())
                ]
            if alike:
                namesake = identity.entry_id(sighting.source, content or "")
                return min(alike, key=lambda r: (r.entry_id != namesake, row_order(r)))
        basis = key or content
        if basis is None:
            return None
        entry_id = identity.entry_id(sighting.source, basis)
        return self._rows.get(entry_id, entry_id)

    def _is_another(self, row: Record, sighting: Sighting) -> bool:
        """Whether one run shows two entries at an address: nobody edits title and date meanwhile."""
        return (
            self._has_touched(sighting.run_id, row.entry_id)
            and merge.differ(row.title, sighting.title)
            and merge.other_day(row, sighting)
        )

    def _worded(self, sighting: Sighting) -> Iterator[Record]:
        """The rows with the title or the teaser of a sighting."""
        if self._by_words is None:  # few sources print records without addresses
            self._by_words = {}
            for row in self._rows.values():
                self._index_words(row, self._by_words)
        found: set[str] = set()
        for text in (sighting.title, sighting.teaser):
            if text is not None:
                found |= self._by_words.get(text, set())
        return (self._rows[entry_id] for entry_id in found)

    @staticmethod
    def _index_words(row: Record, index: dict[str, set[str]]) -> None:
        for text in (row.title, row.teaser):
            if text is not None:
                index.setdefault(text, set()).add(row.entry_id)

    def _judge(self, sighting: Sighting, row: Record | str) -> Decision:
        run_id = sighting.run_id
        if isinstance(row, str):
            self._touched.add((run_id, row))
            return Decision(Verdict.NEW, merge.first(sighting, row), sighting)
        merged = merge.sighted(row, sighting)
        if self._has_touched(run_id, row.entry_id):
            return Decision(Verdict.REPEAT, merge.filled(merged, sighting), sighting)
        self._touched.add((run_id, row.entry_id))
        if run_id >= row.run_id and merge.edited(row, sighting):
            return Decision(Verdict.REVISED, merge.revised(merged, sighting), sighting)
        return Decision(Verdict.SEEN, merge.filled(merged, sighting), sighting)

    def _has_touched(self, run_id: str, entry_id: str) -> bool:
        """Whether a run has had an entry before."""
        before = self._touched_before.get(run_id, ())
        return (run_id, entry_id) in self._touched or entry_id in before

    def _add(self, row: Record, addresses: Iterable[str], content: str | None) -> None:
        self._rows[row.entry_id] = row
        self._by_birth[row.first_seen, row.page_url, row.position] = row.entry_id
        for address in addresses:
            self._by_address.setdefault(address, set()).add(row.entry_id)
        if content is not None:
            self._by_content.setdefault(content, set()).add(row.entry_id)
        if self._by_words is not None:
            self._index_words(row, self._by_words)

    def _change(self, row: Record) -> None:
        old = self._rows[row.entry_id]
        if row is old:
            return
        if (content := _content(old)) is not None:
            self._by_content[content].discard(row.entry_id)
        self._add(row, self._addresses(row) if row.urls != old.urls else (), _content(row))

    def _addresses(self, row: Record) -> list[str]:
        own = self._own(row.page_url)
        return [identity.address_key(url, own) for url in row.urls]


def _content(row: Record) -> str | None:
    """What finds a row under another address: its fingerprint, if that tells it from other entries."""
    return identity.fingerprint(row) if identity.tells_apart(row) else None


def _shared(keys: Sequence[str | None], page: Sequence[Sighting]) -> set[str]:
    """The address keys that different entries of one page have in common.

    Copies of one entry (a lead card and its line in the list) may differ in their teaser, but not in
    title or date where both print one.
    """
    seen: dict[str, list[Sighting]] = {}
    shared: set[str] = set()
    for key, entry in zip(keys, page, strict=True):
        if key is None or key in shared:
            continue
        others = seen.setdefault(key, [])
        if any(merge.differ(entry.title, o.title) or merge.other_day(entry, o) for o in others):
            shared.add(key)
        others.append(entry)
    return shared
