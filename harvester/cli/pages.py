"""Commands about the sources, and about single pages; but for the demo's, they store no rows."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit
from zoneinfo import available_timezones

import typer

from harvester.cli.arguments import Json, Names, Output, chosen_of, unusable
from harvester.terminal import complain, print_json, print_table, printable

if TYPE_CHECKING:
    from harvester.parsers.listing import Listing

Hints = Annotated[
    list[str] | None,
    typer.Option("--hint", metavar="LINE", help="A line of a pattern that learning has to keep."),
]


def sources_(
    names: Names = None,
    diff: Annotated[
        bool,
        typer.Option("--diff", help="Patterns that no longer read a page, and what would read it."),
    ] = False,
    output: Output = None,
    as_json: Json = False,
) -> int:
    """List the sources, or with --diff those whose layout has changed."""
    from harvester.changes import changes, shown
    from harvester.crawl import project_settings
    from harvester.sources import Sources
    from pipelines.dataset import open_dataset

    settings = project_settings(output)
    found = Sources(settings)
    chosen = chosen_of(names, not names, found.names)
    code = unusable(found, *chosen)
    known = {name: found.sound[name] for name in chosen if name in found.sound}
    if diff:
        dataset = open_dataset(settings["HARVESTER_OUTPUT"]).refreshed()
        changed = [change for name in known for change in changes(dataset, name)]
        if as_json:
            print_json([asdict(change) for change in changed])
        for change in changed if not as_json else ():
            for line in shown(change):
                typer.echo(printable(line))
        return code
    if as_json:
        listed = [
            {
                "name": name,
                "start_urls": cls.start_urls,
                "language": cls.language,
                "timezone": cls.timezone,
                "pattern": pattern.to_dict() if (pattern := cls.pattern_on(None)) else None,
                "problem": None,
            }
            for name, cls in known.items()
        ]
        others = [{"name": each.name, "problem": each.reason} for each in found.unusable]
        print_json(listed + others)
        return code
    rows = [
        [name, cls.language, "by hand" if cls.pattern else "learned", " ".join(cls.start_urls)]
        for name, cls in known.items()
    ]
    print_table(["source", "language", "pattern", "start address"], rows)
    return code


def status(
    names: Names = None,
    max_age: Annotated[
        str | None,
        typer.Option(metavar="30m|2h|1d", help="A source without a good run for so long is wrong."),
    ] = None,
    output: Output = None,
    as_json: Json = False,
) -> int:
    """Say how each source's last run went, and which have none; nothing is fetched."""
    from harvester.crawl import Exit, project_settings
    from harvester.sources import Sources
    from harvester.status import Status, duration, statuses
    from pipelines.dataset import open_dataset

    settings = project_settings(output)
    known = Sources(settings)
    chosen = chosen_of(names, not names, known.names)
    try:
        oldest = duration(max_age) if max_age else None
    except ValueError as error:
        raise typer.BadParameter(f"--max-age {error}") from error
    dataset = open_dataset(settings["HARVESTER_OUTPUT"]).refreshed()
    sound = [name for name in chosen if name in known.sound]
    others = known.unusable_of(chosen)
    found = statuses(dataset, sound, datetime.now(UTC), oldest)
    found += [Status(source=each.name, problem=each.reason) for each in others]
    if as_json:
        print_json([asdict(each) for each in found])
    elif sys.stdout.isatty():
        head = ["source", "last run", "pages", "entries", "new", "rows", "state"]
        rows = [
            [
                each.source,
                f"{each.finished:%Y-%m-%d %H:%M}" if each.finished else None,
                each.pages,
                each.entries,
                each.new,
                each.rows,
                each.problem or "; ".join(each.notices) or ("good" if each.run_id else "never run"),
            ]
            for each in found
        ]
        print_table(head, rows)
    for each in found:
        if each.problem:
            complain(f"{each.source}: {each.problem}")
    if others:
        return Exit.CONFIG
    return Exit.UNAVAILABLE if any(each.problem for each in found) else Exit.OK


def peek(
    target: Annotated[str, typer.Argument(metavar="URL|FILE")],
    url: Annotated[str | None, typer.Option(help="The address of a page that is a FILE.")] = None,
    source: Annotated[
        str | None, typer.Option(help="Read as this source does [default: by the address's host].")
    ] = None,
    hint: Hints = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what learning weighed; no source's pattern.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Show what would be read from a page; nothing is stored."""
    from harvester.browser import CannotRender
    from harvester.crawl import Exit, project_settings
    from harvester.peek import PeekError, get, is_address, read_as, reasons, source_of
    from harvester.sources import Sources

    hints = _hint(hint or [])
    settings = project_settings(None)
    known = Sources(settings)
    if source is not None:
        chosen_of([source], False, known.names)
        if source not in known.sound:
            return unusable(known, source)
    if not is_address(target) and not Path(target).is_file():
        raise typer.BadParameter(f"{target}: no such file, and no http address")
    try:
        page = get(target, url, settings, source_of(target, known.sound, source))
    except CannotRender as error:
        complain(f"{target}: {error}")
        return Exit.CONFIG
    except PeekError as error:
        complain(str(error))
        return Exit.UNAVAILABLE
    listing = read_as(page, known.sound, source, hints, learned=explain)
    if as_json:
        pattern = listing.pattern.to_dict() if listing.pattern else None
        print_json({**listing.to_dict(), "pattern": pattern, "evidence": listing.evidence.reasons})
    elif listing.entries:
        _preview(listing)
    if explain and not as_json:
        for line in reasons(page, hints):
            typer.echo(printable(line))
    return Exit.OK if listing.entries else _no_listing(page.url, listing)


def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="The listing's first page.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The source's: a-z, 0-9, _ and -.")],
    language: Annotated[
        str | None,
        typer.Option(metavar="TAG", help='Of the listing, "pt-BR" [default: as the page says].'),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help='Of the site, "Europe/Minsk" [default: of its dates].'),
    ] = None,
    hint: Hints = None,
) -> int:
    """Make a source of a listing: look at the page, learn it, write the source's file.

    The page is recorded beside the entries that were read from it; a test fails until a person has
    compared the two.  Nothing is overwritten.  `harvester peek URL` shows the same, and writes nothing.
    """
    from harvester import scaffold
    from harvester.crawl import Exit, project_settings
    from harvester.peek import PeekError, fetch
    from harvester.project import rooms
    from harvester.sources import Sources

    hints = _hint(hint or [])
    _check_locale(language, timezone)
    _check_address(url)
    settings = project_settings(None)
    home = rooms(settings)
    if problem := scaffold.unfit(name):
        raise typer.BadParameter(f"{name!r} cannot be a source's name: {problem}")
    if name in Sources(settings).names:
        raise typer.BadParameter(f"there is a source {name!r} already; choose another name")
    for path in scaffold.places(name, home):
        if path.exists():
            raise typer.BadParameter(f"{path} exists already; choose another name, or remove it")
    try:
        fetched = fetch(url.partition("#")[0], settings)
    except PeekError as error:
        complain(str(error))
        return Exit.UNAVAILABLE
    page, address = fetched.page, fetched.address.partition("#")[0]
    draft = scaffold.draft(
        page, name=name, start_url=address, language=language, timezone=timezone, hint=hints
    )
    if not draft.listing.entries:
        return _no_listing(page.url, draft.listing)
    _preview(draft.listing)
    if page.url != address:
        typer.echo(f"start address: {address}, which leads to {page.url} for now")
    elif address != url:
        typer.echo(f"start address: {address}")
    for line in scaffold.doubts(draft):
        typer.echo(f"doubtful: {printable(line)}")
    files = scaffold.files(draft, home)
    try:
        scaffold.write(files)
    except OSError as error:
        complain(f"{error.filename or home.root}: {error.strerror}; nothing was written")
        return Exit.CANNOT_CREATE
    recorded, expected, source = map(_near, files)
    typer.echo(f"written: {source}, {recorded}, {expected}")
    typer.echo("next:")
    for what in scaffold.asks(draft):
        typer.echo(f"  set {what} in {source}")
    typer.echo(f"  harvester crawl {name}")
    typer.echo(f'  compare {recorded} with {expected}, then set "reviewed": true in it;')
    typer.echo("  until then the tests fail")
    return Exit.OK


def _preview(listing: Listing) -> None:
    """Show what was read from a page, and by which pattern."""
    rows = [[e.day or e.published_raw, e.kind, e.title, e.teaser, e.url] for e in listing.entries]
    print_table(["date", "kind", "title", "teaser", "address"], rows)
    typer.echo(f"{len(rows)} entries; next page: {listing.next_url or 'none'}")
    typer.echo(f"pattern ({'; '.join(listing.evidence.reasons)}):")
    typer.echo(listing.pattern.to_toml() if listing.pattern else "", nl=False)


def _no_listing(url: str, listing: Listing) -> int:
    """Say why nothing was read from a page."""
    from harvester.crawl import Exit

    complain(f"{url}: no listing: {'; '.join(listing.evidence.reasons)}")
    return Exit.UNAVAILABLE


def _check_address(url: str) -> None:
    """Raise ``typer.BadParameter`` for what cannot be the address of a source."""
    from pipelines.identity import canonical_url

    if canonical_url(url) is None:
        raise typer.BadParameter(f"{url!r} is no http address")
    if "@" in urlsplit(url).netloc:  # it would stand in the files, in every row, archive and log
        raise typer.BadParameter(
            "the address holds a login; leave it out, and set HTTPAUTH_USER in the source's file"
        )


def _check_locale(language: str | None, timezone: str | None) -> None:
    """Raise ``typer.BadParameter`` for no language tag, and for no zone."""
    from harvester.parsers.listing import LANGUAGE

    if language is not None and not LANGUAGE.fullmatch(language):
        raise typer.BadParameter(f'--language {language!r} is no language tag, as "en" or "pt-BR"')
    if timezone is not None and timezone not in available_timezones():
        raise typer.BadParameter(f'--timezone {timezone!r} is no time zone, as "Europe/Minsk"')


def _near(path: Path) -> Path:
    """A path as a person in the working directory would type it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _hint(lines: list[str]) -> dict[str, object]:
    from harvester.parsers.pattern import PatternError, hint_from_toml

    try:
        return hint_from_toml("\n".join(lines))
    except PatternError as error:
        raise typer.BadParameter(f"--hint: {error}") from error


def demo(output: Output = None) -> int:
    """Crawl two small sites that this command serves itself, and show what was stored."""
    from harvester.demo import run_demo

    if output and "://" in output:
        raise typer.BadParameter(f"--output {output}: the demo writes to a folder")
    return run_demo(Path(output or "output"))
