"""What several commands are told in the same way, and what is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from harvester.terminal import complain

if TYPE_CHECKING:
    from harvester.sources import Sources

Names = Annotated[list[str] | None, typer.Argument(metavar="[SOURCE]...")]
EntryId = Annotated[str, typer.Argument(metavar="ENTRY_ID")]
Output = Annotated[
    str | None,
    typer.Option(
        metavar="DIR|s3://BUCKET/PREFIX", help="Where the data set lies [default: output]."
    ),
]
Since = Annotated[
    str | None, typer.Option(metavar="DATE", help="First day of the window, 2011-07-01.")
]
Until = Annotated[str | None, typer.Option(metavar="DATE", help="Last day of the window.")]
Json = Annotated[bool, typer.Option("--json", help="Print a report that machines read.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Each source in a process of its own, N at a time."),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Let a Dask cluster do it: tcp://HOST:8786, or local for one of --workers processes.",
    ),
]
Verbose = Annotated[bool, typer.Option(help="Show Scrapy's log on standard error.")]


def chosen_of(names: Sequence[str] | None, all_: bool, known: Iterable[str]) -> list[str]:
    """The sources that were named, each once, or all.  Raises ``typer.BadParameter``."""
    if not names and not all_:
        raise typer.BadParameter(f"name a source or say --all; known are {', '.join(known)}")
    for name in names or ():
        if name not in known:
            raise typer.BadParameter(f"no source {name!r}; known are {', '.join(known)}")
    return list(dict.fromkeys(names or known))


def unusable(known: Sources, *names: str) -> int:
    """Say which of some sources cannot be used, and why.  The exit code."""
    from harvester.crawl import Exit

    found = known.unusable_of(names)
    for each in found:
        complain(f"{each.name}: {each.reason}")
    return Exit.CONFIG if found else Exit.OK


def _day(option: str, text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise typer.BadParameter(f"{option} {text!r} is no day; write it as 2011-07-31") from None


def window_of(since: str | None, until: str | None) -> dict[str, date | None]:
    """The two ends of a window of days.  Raises ``typer.BadParameter``."""
    first, last = _day("--since", since), _day("--until", until)
    if first and last and first > last:
        raise typer.BadParameter(f"--since {first} lies after --until {last}")
    return {"since": first, "until": last}
