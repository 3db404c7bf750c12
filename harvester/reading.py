"""Read a source's pages one after the other, each as the last good one was read, and heal.

    page --the pattern that read it last--> opinion --sound?--> read
                                               | no
                        learned by example, or anew --sound, and agrees with the past?--> healed
                                               | no
                                             held: the page is not published, and the run says why

A listing is learned once and read for ever: what read an address in the last good run reads it in the
next.  Live runs, recoveries and replays come through here in the same order, so they decide alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

from xxhash import xxh3_128_hexdigest

from harvester.page import Page
from harvester.parsers.listing import Listing, addresses
from harvester.parsers.pattern import ListingPattern, PatternError, pattern_from
from harvester.recall import Recall
from pipelines.comparison import Comparison, address_key, compare
from pipelines.entry import Entry
from pipelines.health import (
    Finding,
    Habit,
    Severity,
    Shown,
    Vitals,
    check,
    is_held,
    led_on,
    remember,
    vitals,
)
from pipelines.identity import form_of

_LITTLE: Final = 0.5  # confidence in what was learned, below which that is said
_SURE: Final = 0.9  # and above which it may be believed without known entries
_MOSTLY: Final = 0.8
_ENOUGH: Final = 3  # known entries, which prove that this is the listing
_AHEAD: Final = timedelta(days=2)
_FEW: Final = 2  # entries, and
_SOME: Final = 0.2  # of the known ones: so many may be new, gone or edited where no date says so
_ENDED: Final = "it leads to no next page any more"


Shows = tuple[str, str | None, Sequence[Entry]]


class Source(Protocol):
    """What of a source its reader needs."""

    @property
    def reads_by_hand(self) -> bool:
        """Whether single records are read by the source's own code, which no pattern can replace."""

    def pattern_on(self, moment: datetime | None) -> ListingPattern | None:
        """The pattern in the source's file for a page that was fetched then."""

    def told_on(self, moment: datetime | None) -> str | None:
        """All that the source's file says of the layout of such a page, as text."""

    def read(self, page: Page, pattern: ListingPattern | None = None) -> Listing:
        """Read a page with a pattern, else with the source's own, else with one that is learned."""

    def learn(self, page: Page, examples: Sequence[Entry] = ()) -> Listing:
        """Read a page with a pattern that is learned from it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where an answer is archived, when it came, and when its body had come first.

    ``asked`` is the address that was asked for, where a redirect led from it to the page.
    """

    run_id: str
    warc_file: str
    warc_record_id: str
    fetched_at: datetime
    body_from: datetime
    asked: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A page as it was read, and what is odd about it.

    ``pattern`` is the text of the one that read it, ``instead_of`` that of one that does no longer;
    ``proposed`` is what was learned from a page that is held, for a person to judge.
    """

    listing: Listing
    vitals: Vitals
    findings: tuple[Finding, ...] = ()
    pattern: str | None = None
    instead_of: str | None = None
    proposed: str | None = None
    comparison: Comparison | None = None


@dataclass(frozen=True, slots=True)
class Opinion:
    """One reading of a page, and what speaks against it."""

    listing: Listing
    vitals: Vitals
    findings: tuple[Finding, ...]
    comparison: Comparison | None

    @property
    def gravity(self) -> tuple[bool, int, int]:
        """The graver, the greater."""
        said = [finding.severity for finding in self.findings]
        return not self.listing.entries, said.count(Severity.FATAL), said.count(Severity.DOUBT)

    @property
    def is_sound(self) -> bool:
        return not any(self.gravity)

    @property
    def fit(self) -> tuple[int, int, bool]:
        """How much of the past it finds again."""
        c, leads_on = self.comparison, self.vitals.leads_on
        return (
            (c.known - c.missed, sum(k.same for k in c.kept), leads_on) if c else (0, 0, leads_on)
        )


class Reader:
    """Reads the pages of one source in the order in which they were fetched, run after run.

    ``habits`` are those that the runs before left; ``archived`` opens the page of a habit, or gives
    ``None`` where that page is no more.  ``recall`` knows what unchanged pages said.
    """

    def __init__(
        self,
        source: Source,
        habits: Iterable[Habit] = (),
        archived: Callable[[Habit], Page | None] = lambda habit: None,
        recall: Recall | None = None,
    ) -> None:
        self._source = source
        self._archived = archived
        self._recall = recall
        self._habits: Mapping[str, Habit] = {habit.listing: habit for habit in habits}
        # What their pages showed, as far as it has been asked: digest and pattern say of which page.
        self._entries: dict[str, Shows] = {}
        self._announced: set[str] = set()

    # ------------------------------------------------------------- runs
    def finish(self) -> tuple[Habit, ...]:
        """End a run.  Returns what is usual after it."""
        if self._recall is not None:
            self._recall.save()
        self._announced = set()
        self._entries = {n: shows for n, shows in self._entries.items() if n in self._habits}
        return tuple(self._habits.values())

    # ------------------------------------------------------------- pages
    def read(self, page: Page, evidence: Evidence, *, accept: bool = False) -> Read:
        """Read the next page of a run.  ``accept``: a person has said that it may have changed."""
        asked = evidence.asked or page.url
        first = asked not in self._announced
        listing = asked if first else form_of(asked)
        given = self._source.pattern_on(page.fetched_at)
        told = self._source.told_on(page.fetched_at)
        habit = self._habit(listing, given, told)
        digest = xxh3_128_hexdigest(page.body)
        if habit is None:
            found = self._unknown(page, evidence, given, accept=accept)
        elif digest == habit.digest:
            again = self._recalled(page, habit) or self._read(page, habit.pattern)
            opinion = self._opinion(page, evidence, habit, (), frozenset(), first, again)
            found = _read(opinion, opinion.findings, habit.pattern, _instead(habit, given))
        else:
            found = self._known(page, evidence, habit, given, first=first, accept=accept)
        if found.instead_of is not None and found.instead_of == (given and given.to_toml()):
            reason = "the pattern in the source's file reads it no longer; `harvester sources --diff` shows another"
            found = replace(found, findings=(*found.findings, _notice(page.url, reason)))
        if found.listing.next_url:
            self._announced.add(found.listing.next_url)
        if found.listing.entries and not is_held(found.findings):
            self._remember(listing, page, evidence, digest, found, habit, told)
        return found

    def _unknown(
        self, page: Page, evidence: Evidence, given: ListingPattern | None, *, accept: bool
    ) -> Read:
        """A page that has no past: as the source says, or learned."""
        listing = self._source.read(page)
        opinion = self._opinion(page, evidence, None, (), frozenset(), True, listing)
        findings = _accepted(opinion.findings) if accept else opinion.findings
        sure = listing.evidence.confidence
        if given is None and listing.entries and sure < _LITTLE:
            reason = f"its layout was learned with little confidence ({sure:.2f})"
            findings = (*findings, _notice(page.url, reason))
        return _read(opinion, findings, _text(listing), None)

    def _known(
        self,
        page: Page,
        evidence: Evidence,
        habit: Habit,
        given: ListingPattern | None,
        *,
        first: bool,
        accept: bool,
    ) -> Read:
        """A page that has a past, and is not what it was then."""
        before = self._before(habit) if first or habit.url == page.url else ()
        held_against = partial(
            self._opinion,
            page,
            evidence,
            habit,
            before,
            _keys(page) if before else frozenset(),
            first,
        )
        stored = held_against(self._read(page, habit.pattern))
        old = _instead(habit, given)
        ends = led_on(habit) and first and not stored.vitals.leads_on
        if stored.is_sound and not ends:
            return _read(stored, stored.findings, habit.pattern, old)
        others = [
            held_against(listing)
            for listing in self._second_opinions(page, habit, given, before)
            if listing.entries
        ]
        agreeing = [o for o in others if o.is_sound and (not first or _agrees(o, habit, evidence))]
        best = max(agreeing, key=lambda o: o.fit, default=None)
        ended = (_notice(page.url, _ENDED),) if ends else ()
        broken = any(stored.gravity[:2])
        if best is not None and (broken or _completes(best, stored)):
            text = _text(best.listing)
            own = text == (given and given.to_toml())
            reason = f"its layout has changed ({_reasons(stored)}); it was learned anew"
            findings = best.findings if own else (*best.findings, _notice(page.url, reason))
            findings += () if best.vitals.leads_on else ended
            return _read(best, findings, text, None if own else _own(habit, given))
        if not broken and not _disputed(stored, others):
            told = tuple(replace(f, severity=Severity.NOTICE) for f in stored.findings)
            return _read(stored, (*told, *ended), habit.pattern, old)
        best = min([stored, *others], key=lambda o: o.gravity)
        text = _text(best.listing)
        if accept and best.listing.entries:
            told = _accepted(best.findings)
            changed = text not in (habit.pattern, given and given.to_toml())
            return _read(best, told, text, _own(habit, given) if changed else old)
        told = stored.findings
        if (
            not first and not stored.listing.entries
        ):  # it may be another page, behind the listing's end
            return _read(stored, (), habit.pattern, old)
        if not stored.listing.entries and best is not stored:  # then this is what is wrong
            told = tuple(
                replace(f, reason=f"learned anew, {f.reason}")
                for f in _doubtful(best, habit, evidence)
            )
        held = _read(stored, _grave(told), habit.pattern, old)
        return held if best is stored else replace(held, proposed=text)

    def _second_opinions(
        self,
        page: Page,
        habit: Habit,
        given: ListingPattern | None,
        before: Sequence[Entry],
    ) -> Iterator[Listing]:
        if given is not None and given.to_toml() != habit.pattern:
            yield self._source.read(page, given)
        if not self._source.reads_by_hand:
            if before:
                yield self._source.learn(page, before)
            yield self._source.learn(page)

    # ------------------------------------------------------------- inside
    def _habit(self, listing: str, given: ListingPattern | None, told: str | None) -> Habit | None:
        """What an address showed before; what a person has written since makes it void."""
        habit = self._habits.get(listing)
        if habit is None or habit.pattern is None:
            return None
        taken_over = given is not None and given.to_toml() == habit.pattern
        if habit.told != told and not taken_over:
            return None
        try:
            pattern_from(habit.pattern)
        except PatternError:  # of another version of this program
            return None
        return habit

    def _recalled(self, page: Page, habit: Habit) -> Listing | None:
        """What a page said that has not changed since."""
        if self._recall is None:
            return None
        return self._recall.listing(habit.listing, page, habit.digest, habit.pattern)

    def _read(self, page: Page, pattern: str | None) -> Listing:
        return self._source.read(page, pattern_from(pattern) if pattern else None)

    def _before(self, habit: Habit) -> Sequence[Entry]:
        """The entries of the last good page of an address."""
        digest, pattern, entries = self._entries.get(habit.listing, ("", None, ()))
        if (digest, pattern) == (habit.digest, habit.pattern):
            return entries
        page = self._archived(habit)
        entries = self._read(page, habit.pattern).entries if page else ()
        self._entries[habit.listing] = (habit.digest, habit.pattern, entries)
        return entries

    def _opinion(
        self,
        page: Page,
        evidence: Evidence,
        habit: Habit | None,
        before: Sequence[Entry],
        linked: frozenset[str],
        first: bool,
        listing: Listing,
    ) -> Opinion:
        signs = vitals(listing.entries, leads_on=listing.next_url is not None)
        comparison = compare(before, listing.entries, linked) if before else None
        findings = check(page.url, signs, evidence.fetched_at, habit, comparison, first=first)
        return Opinion(listing, signs, tuple(findings), comparison)

    def _remember(
        self,
        listing: str,
        page: Page,
        evidence: Evidence,
        digest: str,
        found: Read,
        habit: Habit | None,
        told: str | None,
    ) -> None:
        comparison = found.comparison
        same = habit is not None and habit.digest == digest
        healed = habit.healed if habit and habit.pattern == found.pattern else evidence.fetched_at
        now = Habit(
            listing=listing,
            url=page.url,
            digest=digest,
            warc_file=habit.warc_file if habit and same else evidence.warc_file,
            warc_record_id=habit.warc_record_id if habit and same else evidence.warc_record_id,
            told=told,
            pattern=found.pattern,
            instead_of=found.instead_of,
            healed=healed if found.instead_of else None,
        )
        shown = Shown(
            fetched_at=evidence.fetched_at,
            vitals=found.vitals,
            known=comparison.known if comparison else None,
            missed=comparison.missed if comparison else 0,
        )
        self._entries[listing] = (digest, found.pattern, found.listing.entries)
        if self._recall is not None:
            self._recall.remember(listing, page, digest, found.pattern, found.listing)
        known = self._habits if habit is not None else _without(self._habits, listing)
        self._habits = remember(known, now, shown, changed=not same)


def _disputed(stored: Opinion, others: Sequence[Opinion]) -> bool:
    """Whether a page on which nothing is known is read in two ways, and nothing says which is right."""
    c = stored.comparison
    if c is None or c.known or not others:
        return False
    both = compare(stored.listing.entries, others[-1].listing.entries)
    return both.known < _MOSTLY * both.before or both.title.same < _MOSTLY * both.title.had


def _completes(new: Opinion, old: Opinion) -> bool:
    """Whether a reading has what another one has, and finds more of the past or of the listing.

    Known entries stand beside a listing too: what still reads as it did is not given up for them.
    """
    both = compare(old.listing.entries, new.listing.entries)
    return both.known >= _MOSTLY * both.before and new.fit > old.fit


def _agrees(opinion: Opinion, habit: Habit, evidence: Evidence) -> bool:
    """Whether a new reading is one of the listing that the habit is of.

    Known entries prove it.  Where none is left, because the page was not seen for long, it is believed
    if everything is newer than all that was known, in the same section of the site, as filled, and
    learned with confidence.
    """
    c, now = opinion.comparison, opinion.vitals
    last = habit.shown[-1].vitals
    if (
        c is None or 2 * now.records < last.records
    ):  # a box beside the listing has known entries, too
        return False
    if c.known >= min(_ENOUGH, c.before):
        told = all(each.same >= _MOSTLY * each.had for each in c.kept)
        return told and not _spoils(c, habit) and not c.amiss
    return (
        c.known == 0
        and c.at_home >= _MOSTLY * c.strange
        and opinion.listing.evidence.confidence >= _SURE
        and now.dated >= _MOSTLY * now.records
        and last.dated >= _MOSTLY * last.records
        and c.newer >= _MOSTLY * c.strange
        and now.newest is not None
        and now.newest <= (evidence.fetched_at + _AHEAD).date()
    )


def _spoils(c: Comparison, habit: Habit) -> bool:
    """Whether a new reading has more of the known entries wrong than editors change in a day.

    Or leaves out what is still there, or reads what stands beside the listing.
    """
    some = max(_FEW, _SOME * c.known)
    return bool(
        c.title.lost
        or c.date.lost
        or c.title.changed
        or c.title.retold > _FEW
        or c.date.gained > some
        or c.moved > _FEW
        or c.missed > max(each.missed for each in habit.shown)
        or c.skipped > some
        or c.strange - c.newer > some
    )


def _instead(habit: Habit, given: ListingPattern | None) -> str | None:
    """The pattern that a habit's own took the place of, unless a person has accepted that."""
    return None if given is not None and given.to_toml() == habit.pattern else habit.instead_of


def _own(habit: Habit, given: ListingPattern | None) -> str | None:
    """The pattern that a new one takes the place of."""
    return given.to_toml() if given is not None else habit.pattern


def _doubtful(opinion: Opinion, habit: Habit, evidence: Evidence) -> tuple[Finding, ...]:
    """What speaks against a reading, also where it only does not show enough of the past."""
    if opinion.is_sound and not _agrees(opinion, habit, evidence):
        reason = "it shows too little of what was known, or something else beside it"
        if opinion.comparison is None:
            reason = "the archive has no page to hold it against"
        doubt = Finding(url=habit.url, severity=Severity.DOUBT, reason=reason)
        return (doubt, *opinion.findings)
    return opinion.findings


def _grave(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings of a page that is held: a doubt that nothing settles is a reason."""
    return tuple(
        replace(f, severity=Severity.FATAL) if f.severity is Severity.DOUBT else f for f in findings
    )


def _accepted(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(
        replace(f, severity=Severity.NOTICE, reason=f"accepted: {f.reason}") for f in findings
    )


def _read(
    opinion: Opinion, findings: Sequence[Finding], pattern: str | None, instead_of: str | None
) -> Read:
    return Read(
        listing=opinion.listing,
        vitals=opinion.vitals,
        findings=tuple(findings),
        pattern=pattern,
        instead_of=instead_of,
        comparison=opinion.comparison,
    )


def _notice(url: str, reason: str) -> Finding:
    return Finding(url=url, severity=Severity.NOTICE, reason=reason)


def _reasons(opinion: Opinion) -> str:
    if not opinion.listing.entries:
        return "no entries"
    said = [f.reason for f in opinion.findings if f.severity is not Severity.NOTICE]
    return "; ".join(said or [_ENDED])


def _text(listing: Listing) -> str | None:
    return listing.pattern.to_toml() if listing.pattern else None


def _keys(page: Page) -> frozenset[str]:
    return frozenset(filter(None, map(address_key, addresses(page))))


def _without(habits: Mapping[str, Habit], listing: str) -> dict[str, Habit]:
    return {name: habit for name, habit in habits.items() if name != listing}
