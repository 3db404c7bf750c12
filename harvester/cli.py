"""The command line: one thin function per command.

Quiet on success when nobody watches; one line on standard error for each thing that is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from harvester.terminal import complain, print_json, print_table, printable
from pipelines.version import VERSION

if TYPE_CHECKING:
    from harvester.crawl import Outcome

# The base of all of Typer's complaints about arguments; where it lives differs between versions.
UsageError: Any = typer.BadParameter.__base__

app = typer.Typer(
    name="harvester",
    help="News listing pages into a data set that people can trust.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Names = Annotated[list[str] | None, typer.Argument(metavar="[SOURCE]...")]
Output = Annotated[Path | None, typer.Option(help="Folder of the data set [default: output].")]
Since = Annotated[
    str | None, typer.Option(metavar="DATE", help="First day of the window, 2011-07-01.")
]
Until = Annotated[str | None, typer.Option(metavar="DATE", help="Last day of the window.")]
Json = Annotated[bool, typer.Option("--json", help="Print a report that machines read.")]
Verbose = Annotated[bool, typer.Option(help="Show Scrapy's log on standard error.")]


@app.command()
def crawl(
    names: Names = None,
    all_: Annotated[bool, typer.Option("--all", help="Crawl every source.")] = False,
    start_url: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL", help="Another listing of the source's site; several may follow."
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    max_pages: Annotated[
        int | None, typer.Option(min=1, help="Listing pages to read for each start address.")
    ] = None,
    full: Annotated[bool, typer.Option(help="Read on past pages where all is known.")] = False,
    output: Output = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Fetch listings, archive them, and merge their entries into the data set."""
    from harvester.crawl import crawl as run
    from harvester.crawl import project_settings, sources, worst
    from harvester.peek import is_address
    from pipelines.identity import canonical_url

    settings = project_settings(output, verbose=verbose)
    if start_url:  # one --start-url may be followed by several addresses
        start_url += [name for name in names or () if is_address(name)]
        names = [name for name in names or () if not is_address(name)]
    chosen = _chosen(names, all_, sources(settings))
    if start_url and len(chosen) > 1:
        raise typer.BadParameter("--start-url belongs to one source; name just that one")
    for url in start_url or ():
        if canonical_url(url) is None:
            raise typer.BadParameter(f"--start-url {url!r} is no http address")
    _warn_of_demo(Path(settings["HARVESTER_OUTPUT"]), start_url)
    arguments = {
        "start_url": start_url,
        **_window(since, until),
        "max_pages": max_pages,
        "full": full,
    }
    outcomes = run(
        dict.fromkeys(chosen, arguments), settings, progress=sys.stderr.isatty() and not verbose
    )
    _show(outcomes, as_json)
    return worst(outcomes)


@app.command()
def replay(
    names: Names = None,
    since: Since = None,
    until: Until = None,
    run: Annotated[str | None, typer.Option(metavar="ID", help="Only this run.")] = None,
    warc: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Read this archive file; several may follow."),
    ] = None,
    archive: Annotated[
        Path | None,
        typer.Option(
            help="Output folder whose archive is read [default: --output's own, else output]."
        ),
    ] = None,
    output: Output = None,
    as_json: Json = False,
) -> int:
    """Rebuild the data set from the archive, without the network."""
    from harvester.archive import read_run
    from harvester.crawl import Exit, failed, judge, project_settings, sources, worst
    from harvester.crawl import Outcome as Result
    from harvester.replay import replay as rebuild
    from pipelines.dataset import Dataset
    from pipelines.run import run_started

    settings = project_settings(output)
    known = sources(settings)
    if warc:  # one --warc may be followed by several files, as a shell's * gives them
        warc += [Path(name) for name in names or () if name not in known]
        names = [name for name in names or () if name in known]
    window = _window(since, until)
    dataset = Dataset(Path(settings["HARVESTER_OUTPUT"]))
    kept = Dataset(_archive_root(archive, dataset.root, project_settings(None)["HARVESTER_OUTPUT"]))
    chosen = _chosen(names, not names, known)
    files: dict[str, list[Path]] = {}
    for path in warc or ():
        if not path.is_file():
            raise typer.BadParameter(f"--warc {path}: no such file")
        # A file of ours names its source; for one from elsewhere it must be said.
        source = read_run(path, "").source or (chosen[0] if len(chosen) == 1 else "")
        if not source:
            raise typer.BadParameter(f"{path} does not say which source it is of; name the source")
        if source not in chosen:
            raise typer.BadParameter(f"{path} is an archive of {source}, which was not asked for")
        files.setdefault(source, []).append(path)
    if run and run_started(run) is None:
        raise typer.BadParameter(
            f"--run {run!r} is no run; the files in runs/ are named after them"
        )
    if not warc:
        for source in chosen:
            if found := kept.archive_files(source, run or "*"):
                files[source] = found
    # The whole archive says what the rows are; a part of it can only add to them.
    whole = not (warc or run or since or until)
    if not files:
        what = f"run {run}" if run else "archived run of " + ", ".join(chosen)
        raise typer.BadParameter(f"no {what} in {kept.root / 'archive'}")
    outcomes = []
    for source, paths in files.items():
        try:
            report = rebuild(
                dataset,
                known[source](),
                settings,
                paths,
                since=window["since"],
                until=window["until"],
                rebuild=whole,
            )
        except Exception as error:
            outcomes.append(failed(source, error))
            continue
        outcome = judge(source, report)
        # Damage to an archive is a matter of data, not of a site being down.
        if outcome.exit is Exit.UNAVAILABLE:
            outcome = Result(source, Exit.DATA, outcome.problem, report)
        outcomes.append(outcome)
    _show(outcomes, as_json)
    return worst(outcomes)


@app.command()
def check(
    names: Names = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Rebuild damaged tables from the archive."),
    ] = False,
    output: Output = None,
) -> int:
    """Hold every file of the data set against what was written; name what is damaged."""
    from harvester.crawl import Exit, project_settings, sources
    from harvester.demo import MARK, note_is_whole
    from harvester.replay import repair as rebuild
    from pipelines.check import check as look
    from pipelines.check import check_stories
    from pipelines.dataset import CannotCreate, Dataset
    from pipelines.publish import retell
    from pipelines.storybook import ALL, Storybook

    settings = project_settings(output)
    known = sources(settings)
    dataset = Dataset(Path(settings["HARVESTER_OUTPUT"]))
    if not dataset.root.is_dir():
        raise typer.BadParameter(f"--output {dataset.root}: no such folder")
    worst = Exit.OK
    if not note_is_whole(dataset.root):
        complain(f"{dataset.root / MARK}: it is not what was written")
        worst = Exit.DATA
    for source in _chosen(names, not names, known):
        with ExitStack() as held:
            with suppress(CannotCreate):  # a copy that cannot be written can still be checked
                held.enter_context(dataset.lock(source))
            findings = list(look(dataset, source))
        for finding in findings:
            complain(f"{source}: {finding}")
        if findings and repair:
            report = rebuild(dataset, known[source](), settings)
            findings = list(look(dataset, source))
            what = "; what is left:" if findings else ""
            complain(f"{source}: rebuilt, {report.rows} rows{what}")
            for finding in findings:
                complain(f"{source}: {finding}")
        if findings:
            worst = Exit.DATA
    with ExitStack() as held:
        book = Storybook(dataset)
        with suppress(CannotCreate):
            held.enter_context(book.own.lock(ALL, wait=True))
        findings = list(check_stories(dataset))
        for finding in findings:
            complain(str(finding))
        if findings:
            worst = Exit.DATA
            if repair:
                book.discard()
    if repair:
        retell(dataset, dataset.sources())
    return worst


@app.command()
def diff(
    entry_id: Annotated[str, typer.Argument(metavar="ENTRY_ID")],
    output: Output = None,
    as_json: Json = False,
) -> int:
    """Show what an entry said, version by version, and the page that proves each."""
    from harvester.crawl import project_settings
    from pipelines.dataset import Dataset
    from pipelines.revisions import changes

    root = Path(project_settings(output)["HARVESTER_OUTPUT"])
    versions = Dataset(root).versions_of(entry_id)
    if not versions:
        raise typer.BadParameter(f"no entry {entry_id!r} in {root}")
    if as_json:
        print_json([asdict(version) for version in versions])
        return 0
    before = None
    for version in versions:
        until = f" to {version.until:%Y-%m-%d %H:%M} UTC" if version.until else ""
        typer.echo(f"version {version.revision}, {version.since:%Y-%m-%d %H:%M} UTC{until}")
        for name, old, new in changes(before, version):
            if old is not None:
                typer.echo(f"- {name}: {printable(str(old))}")
            if new is not None:
                typer.echo(f"+ {name}: {printable(str(new))}")
        typer.echo(f"  proof: {version.warc_file} {version.warc_record_id}")
        before = version
    return 0


@app.command()
def export(
    names: Names = None,
    to: Annotated[str, typer.Option(metavar="csv|jsonl|feed|duckdb", help="The form.")] = "csv",
    file: Annotated[
        Path | None, typer.Option(help="Write to this file [default: standard output].")
    ] = None,
    output: Output = None,
) -> int:
    """Write the entries, all or those of some sources, in another form."""
    from harvester.crawl import project_settings
    from pipelines.dataset import Dataset
    from pipelines.export import as_csv, as_feed, as_jsonl, write_duckdb

    if to not in ("csv", "jsonl", "feed", "duckdb"):
        raise typer.BadParameter(f"--to {to!r}: there are csv, jsonl, feed, duckdb")
    dataset = Dataset(Path(project_settings(output)["HARVESTER_OUTPUT"]))
    stored = dataset.sources()
    for name in names or ():
        if name not in stored:
            raise typer.BadParameter(f"no rows of {name!r} in {dataset.root}")
    chosen = names or stored
    lines: Iterable[str]
    if to == "duckdb":
        if file is None:
            raise typer.BadParameter("--to duckdb needs --file FILE")
        if not chosen:
            raise typer.BadParameter(f"no rows in {dataset.root}")
        with _new(file):
            write_duckdb(dataset, chosen, file)
        return 0
    if to == "feed":
        if len(chosen) != 1:
            raise typer.BadParameter(f"a feed is of one source; name one of {', '.join(stored)}")
        lines = [as_feed(dataset, chosen[0])]
    else:
        form = {"csv": as_csv, "jsonl": as_jsonl}[to]
        lines = form(row for name in chosen for row in dataset.records(name))
    if file is None:
        sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr]
        sys.stdout.writelines(lines)
        return 0
    with _new(file), file.open("x", encoding="utf-8", newline="") as written:
        written.writelines(lines)
    return 0


@contextmanager
def _new(file: Path) -> Iterator[None]:
    """Nothing is overwritten."""
    try:
        yield
    except FileExistsError:
        raise typer.BadParameter(f"--file {file} exists; move it away or name another") from None


@app.command("sources")
def sources_(as_json: Json = False) -> int:
    """List the sources."""
    from harvester.crawl import project_settings, sources

    known = sources(project_settings(None))
    if as_json:
        listed = [
            {
                "name": name,
                "start_urls": cls.start_urls,
                "language": cls.language,
                "timezone": cls.timezone,
                "pattern": cls.pattern.to_dict() if cls.pattern else None,
            }
            for name, cls in known.items()
        ]
        print_json(listed)
        return 0
    rows = [
        [name, cls.language, "by hand" if cls.pattern else "learned", " ".join(cls.start_urls)]
        for name, cls in known.items()
    ]
    print_table(["source", "language", "pattern", "start address"], rows)
    return 0


@app.command()
def peek(
    target: Annotated[str, typer.Argument(metavar="URL|FILE")],
    url: Annotated[str | None, typer.Option(help="The address of a page that is a FILE.")] = None,
    source: Annotated[
        str | None, typer.Option(help="Read as this source does [default: by the address's host].")
    ] = None,
    hint: Annotated[
        list[str] | None,
        typer.Option(metavar="LINE", help="A line of a pattern that learning has to keep."),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what learning weighed; no source's pattern.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Show what would be read from a page; nothing is stored."""
    from harvester.crawl import Exit, project_settings, sources
    from harvester.peek import PeekError, get, is_address, read_as, reasons

    hints = _hint(hint or [])
    settings = project_settings(None)
    known = sources(settings)
    if source is not None and source not in known:
        raise typer.BadParameter(f"no source {source!r}; known are {', '.join(known)}")
    if not is_address(target) and not Path(target).is_file():
        raise typer.BadParameter(f"{target}: no such file, and no http address")
    try:
        page = get(target, url, settings)
    except PeekError as error:
        complain(str(error))
        return Exit.UNAVAILABLE
    listing = read_as(page, known, source, hints, learned=explain)
    if as_json:
        pattern = listing.pattern.to_dict() if listing.pattern else None
        print_json({**listing.to_dict(), "pattern": pattern, "evidence": listing.evidence.reasons})
    elif listing.entries:
        rows = [
            [e.day or e.published_raw, e.kind, e.title, e.teaser, e.url] for e in listing.entries
        ]
        print_table(["date", "kind", "title", "teaser", "address"], rows)
        typer.echo(f"{len(rows)} entries; next page: {listing.next_url or 'none'}")
        typer.echo(f"pattern ({'; '.join(listing.evidence.reasons)}):")
        typer.echo(listing.pattern.to_toml() if listing.pattern else "", nl=False)
    if explain and not as_json:
        for line in reasons(page, hints):
            typer.echo(printable(line))
    if not listing.entries:
        complain(f"{page.url}: no listing: {'; '.join(listing.evidence.reasons)}")
        return Exit.UNAVAILABLE
    return 0


def _hint(lines: list[str]) -> dict[str, object]:
    from harvester.parsers.pattern import PatternError, hint_from_toml

    try:
        return hint_from_toml("\n".join(lines))
    except PatternError as error:
        raise typer.BadParameter(f"--hint: {error}") from error


@app.command()
def demo(output: Output = None) -> int:
    """Crawl two small sites that this command serves itself, and show what was stored."""
    from harvester.demo import run_demo

    return run_demo(output or Path("output"))


def _version(value: bool) -> None:
    if value:
        typer.echo(f"harvester {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    from pipelines.table import DatasetError

    try:
        code = app(list(arguments) if arguments is not None else None, standalone_mode=False)
    except UsageError as error:
        message = error.format_message().removeprefix("Invalid value: ")
        complain(f"{message} (see `harvester --help`)")
        code = 64
    except DatasetError as error:
        from harvester.crawl import exit_of

        complain(str(error))
        code = exit_of(error)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    sys.exit(int(code or 0))


def _chosen(names: Sequence[str] | None, all_: bool, known: dict[str, Any]) -> list[str]:
    if not names and not all_:
        raise typer.BadParameter(f"name a source or say --all; known are {', '.join(known)}")
    for name in names or ():
        if name not in known:
            raise typer.BadParameter(f"no source {name!r}; known are {', '.join(known)}")
    return list(dict.fromkeys(names or known))


def _day(option: str, text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise typer.BadParameter(f"{option} {text!r} is no day; write it as 2011-07-31") from None


def _window(since: str | None, until: str | None) -> dict[str, date | None]:
    first, last = _day("--since", since), _day("--until", until)
    if first and last and first > last:
        raise typer.BadParameter(f"--since {first} lies after --until {last}")
    return {"since": first, "until": last}


def _archive_root(given: Path | None, output: Path, default: str) -> Path:
    if given is not None:
        return given
    return output if (output / "archive").is_dir() else Path(default)


def _warn_of_demo(output: Path, start_urls: Sequence[str] | None) -> None:
    from harvester.demo import is_demo

    if not start_urls and is_demo(output):
        complain(f"{output} holds the demo's rows; `make clean` removes them")


def _show(outcomes: Sequence[Outcome], as_json: bool) -> None:
    if as_json:
        print_json([_plain(outcome) for outcome in outcomes])
    elif sys.stdout.isatty():
        for outcome in outcomes:
            if outcome.report:
                c, rows = outcome.report.counts, outcome.report.rows
                typer.echo(
                    f"{outcome.source}: {len(outcome.report.course.pages)} pages, {c.entries} entries: "
                    f"{c.new} new, {c.repeats} repeats, {c.revised} revised, {c.seen} seen, "
                    f"{c.rejected} rejected; {rows} rows stored"
                )
    for outcome in outcomes:
        if outcome.problem:
            complain(f"{outcome.source}: {outcome.problem}")


def _plain(outcome: Outcome) -> dict[str, Any]:
    report = outcome.report
    plain: dict[str, Any] = {
        "source": outcome.source,
        "exit": int(outcome.exit),
        "problem": outcome.problem,
    }
    if report:
        plain |= {
            "run_id": report.run.run_id,
            "counts": asdict(report.counts),
            "rows": report.rows,
            "stops": [asdict(stop) for stop in report.course.stops],
            "failures": [asdict(failure) for failure in report.course.failures],
            "pages": [asdict(page) for page in report.course.pages],
        }
    return plain
