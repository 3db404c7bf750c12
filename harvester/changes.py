"""Listings whose layout has changed: the pattern that read them, and the one that does or would.

For a person to judge: `harvester sources --diff`.  What is accepted goes into the source's file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any, Final

from pipelines import ledger
from pipelines.dataset import Dataset
from pipelines.health import Severity

_LOOKED_AT: Final = 200  # runs back


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A changed listing.  ``old`` and ``new`` are patterns as text; ``new`` is ``None`` if nothing is.

    ``held``: its run was not published, for these ``reasons``; else ``new`` is in use ``since`` then.
    """

    source: str
    url: str
    old: str | None
    new: str | None
    held: bool
    since: str | None
    reasons: tuple[str, ...] = ()


def changes(dataset: Dataset, source: str) -> list[Change]:
    """The changes that a person has not judged yet: what each address last showed in the live runs.

    Raises ``Damaged`` where a ledger cannot be read.
    """
    found: list[Change] = []
    judged: set[str] = set()
    for run_id in reversed(ledger.run_ids(dataset, source)[-_LOOKED_AT:]):
        told = ledger.read(dataset.ledger_file(run_id))
        if told["mode"] == "replay":
            continue
        if not judged:
            found += _healed(source, told["course"])
        found += (change for change in _held(source, told["course"]) if change.url not in judged)
        judged.update(page["url"] for page in told["course"]["pages"])
    return found


def shown(change: Change) -> Iterator[str]:
    """A change in lines: what to know, the difference, what to do."""
    yield f"{change.source}: {change.url}"
    if change.held:
        yield f"  not published: {'; '.join(change.reasons)}"
    else:
        yield f"  read with the new pattern since {change.since}"
    if change.new is None:
        yield "  nothing that was learned from the page reads it as before"
    elif change.new == change.old:
        yield "  the page is read as before; what it shows has changed"
    else:
        old, new = (change.old or "").splitlines(), change.new.splitlines()
        lines = unified_diff(old, new, "old", "new", n=9, lineterm="")
        yield from (f"  {line}" for line in lines if not line.startswith("@@"))
    if change.held:
        yield f"  to take it: harvester crawl {change.source} --accept, or write a pattern into its file"
    else:
        yield "  to keep it: write the new pattern into the source's file, beside the old one:"
        day = (change.since or "")[:10]
        yield f'  pattern = {{"1970-01-01": <old>, "{day}": <new>}}, so that replays read each page with its own'


def _held(source: str, course: dict[str, Any]) -> Iterator[Change]:
    reasons: dict[str, list[str]] = {}
    for finding in course.get("findings", ()):
        if finding["severity"] == Severity.FATAL:
            reasons.setdefault(finding["url"], []).append(finding["reason"])
    for page in course["pages"]:
        if page["url"] in reasons and page.get("pattern"):
            yield Change(
                source=source,
                url=page["url"],
                old=page["pattern"],
                new=page["proposed"],
                held=True,
                since=None,
                reasons=tuple(reasons[page["url"]]),
            )


def _healed(source: str, course: dict[str, Any]) -> Iterator[Change]:
    for habit in course.get("habits", ()):
        if habit["instead_of"]:
            yield Change(
                source=source,
                url=habit["url"],
                old=habit["instead_of"],
                new=habit["pattern"],
                held=False,
                since=habit["healed"],
            )
