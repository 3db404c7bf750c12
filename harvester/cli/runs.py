"""Commands that fetch pages, or read archived ones again, and publish what they say."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from harvester.cli.arguments import (
    Cluster,
    Json,
    Names,
    Output,
    Since,
    Until,
    Verbose,
    Workers,
    chosen_of,
    unusable,
    window_of,
)
from harvester.terminal import complain, print_json, printable

if TYPE_CHECKING:
    from scrapy.settings import Settings

    from harvester.crawl import Outcome
    from harvester.orders import Order, Result
    from pipelines.publish import Report


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
    accept: Annotated[
        bool,
        typer.Option(
            "--accept", help="Take pages that are held because they are not what they were."
        ),
    ] = False,
    ping: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="HARVESTER_PING",
            help="A watchdog's address: told /start, then itself or /fail.",
        ),
    ] = None,
    alert: Annotated[
        str | None,
        typer.Option(
            metavar="URL|COMMAND",
            envvar="HARVESTER_ALERT",
            help="Gets a line for each source that is wrong.",
        ),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", envvar="HARVESTER_LOG", help="Append a JSON line for each source."
        ),
    ] = None,
    workers: Workers = None,
    cluster: Cluster = None,
    output: Output = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Fetch listings, archive them, and merge their entries into the data set."""
    from harvester import alerts
    from harvester.crawl import crawl as run
    from harvester.crawl import not_crawled, project_settings, worst
    from harvester.orders import orders
    from harvester.peek import is_address
    from harvester.sources import Sources
    from pipelines.dataset import open_dataset
    from pipelines.identity import canonical_url

    settings = project_settings(output, verbose=verbose)
    if start_url:  # one --start-url may be followed by several addresses
        start_url += [name for name in names or () if is_address(name)]
        names = [name for name in names or () if not is_address(name)]
    known = Sources(settings)
    chosen = chosen_of(names, all_, known.names)
    if accept and len(chosen) > 1:
        raise typer.BadParameter(
            "--accept is a judgement of one source's pages; name just that one"
        )
    if start_url and len(chosen) > 1:
        raise typer.BadParameter("--start-url belongs to one source; name just that one")
    for url in start_url or ():
        if canonical_url(url) is None:
            raise typer.BadParameter(f"--start-url {url!r} is no http address")
        if "@" in urlsplit(url).netloc:
            raise typer.BadParameter(
                "--start-url holds a login; set HTTPAUTH_USER in the source's file"
            )
    _warn_of_demo(open_dataset(settings["HARVESTER_OUTPUT"]).root, start_url)
    arguments = {
        "start_url": start_url,
        **window_of(since, until),
        "max_pages": max_pages,
        "full": full,
        "accept": accept,
    }
    if ping:
        _tell(lambda: alerts.ping(ping, "start"))
    runs = {name: arguments for name in chosen if name in known.sound}
    watched = sys.stderr.isatty() and not verbose
    trouble = ""
    if workers or cluster:
        from harvester.cluster import NoCluster

        told = partial(orders, "crawl", runs, known, settings, watched=watched)
        try:
            outcomes = [each.outcome for each in _spread(told, settings, workers, cluster, watched)]
        except NoCluster as error:
            complain(str(error))
            outcomes, trouble, code = [], f"{error}\n", error.exit
    else:
        outcomes = run(runs, settings, progress=watched)
    outcomes += map(not_crawled, known.unusable_of(chosen))
    _show(outcomes, as_json)
    wrong = trouble + "".join(
        f"{o.source}: {printable(o.problem)}\n" for o in outcomes if o.problem
    )
    if log:
        _log(log, outcomes)
    if alert and wrong:
        _tell(lambda: alerts.alert(alert, wrong))
    if ping:
        _tell(lambda: alerts.ping(ping, "failure" if wrong else "success", wrong))
    return code if trouble else worst(outcomes)


def _spread(
    told: Callable[[], list[Order]],
    settings: Settings,
    workers: int | None,
    cluster: str | None,
    watched: bool = False,
) -> list[Result]:
    """Have orders performed by processes of this machine, or by a cluster.  Raises ``NoCluster``."""
    from harvester.cluster import LOCAL, run_there
    from harvester.workers import run_here

    if not cluster:
        return run_here(told(), workers or 1, progress=watched)
    if workers and cluster != LOCAL:
        raise typer.BadParameter("--workers N is for --cluster local; another one has its own")
    output = settings["HARVESTER_OUTPUT"]
    if "://" not in output:  # wherever a worker was started
        output = str(Path(output).absolute())
        settings.set("HARVESTER_OUTPUT", output, priority="cmdline")
    patience = settings.getfloat("HARVESTER_PATIENCE")
    return run_there(told(), cluster, output, workers=workers, patience=patience, progress=watched)


def _tell(call: Callable[[], None]) -> None:
    """Tell somebody; that it did not work is said, and changes nothing else."""
    from harvester.alerts import NotTold

    try:
        call()
    except NotTold as error:
        complain(str(error))


def _log(file: Path, outcomes: Sequence[Outcome]) -> None:
    at = datetime.now(UTC).isoformat()
    lines = []
    for outcome in outcomes:
        told = {"at": at, "source": outcome.source, "exit": int(outcome.exit)}
        told |= {"problem": outcome.problem}
        if outcome.report:
            report = outcome.report
            told |= {"run_id": report.run.run_id, "pages": len(report.course.pages)}
            told |= {**asdict(report.counts), "rows": report.rows}
        lines.append(json.dumps(told, ensure_ascii=False) + "\n")
    try:
        with file.open("a", encoding="utf-8") as log:
            log.writelines(lines)
    except OSError as error:
        complain(f"--log {file}: {error.strerror}")


def replay(
    names: Names = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Replay every source, as without a name.")
    ] = False,
    since: Since = None,
    until: Until = None,
    run: Annotated[str | None, typer.Option(metavar="ID", help="Only this run.")] = None,
    warc: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Read this archive file, WARC or WACZ; several may follow."
        ),
    ] = None,
    archive: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|s3://BUCKET/PREFIX",
            help="Output whose archive is read [default: --output's own, else output].",
        ),
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Publish also what was held back.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change; write nothing.")
    ] = False,
    workers: Workers = None,
    cluster: Cluster = None,
    output: Output = None,
    as_json: Json = False,
) -> int:
    """Rebuild the data set from the archive, without the network."""
    from harvester.crawl import not_crawled, project_settings, worst
    from harvester.orders import orders, reread
    from harvester.sources import Sources
    from pipelines.dataset import open_dataset
    from pipelines.run import run_started

    settings = project_settings(output)
    everyone = Sources(settings)
    known = everyone.sound
    if warc:  # one --warc may be followed by several files, as a shell's * gives them
        warc += [Path(name) for name in names or () if name not in known]
        names = [name for name in names or () if name in known]
    if warc and cluster:
        raise typer.BadParameter("--warc names files of this machine; use --workers")
    if warc and (run or archive):
        raise typer.BadParameter("--warc names the files; --run and --archive choose others")
    window = window_of(since, until)
    dataset = open_dataset(settings["HARVESTER_OUTPUT"]).refreshed()
    default = project_settings(None)["HARVESTER_OUTPUT"]
    kept = dataset
    if archive is not None or not (dataset.root / "archive").is_dir():
        kept = open_dataset(archive or default).refreshed()
    if cluster and str(kept) != str(kept.root):
        raise typer.BadParameter(
            f"the archive in {kept} is read from a copy on this machine; use --workers"
        )
    chosen = chosen_of(names, all_ or not names, known if warc else everyone.names)
    outcomes = [not_crawled(each) for each in everyone.unusable_of(chosen)]
    chosen = [source for source in chosen if source in known]
    if run and run_started(run) is None:
        raise typer.BadParameter(
            f"--run {run!r} is no run; the files in runs/ are named after them"
        )
    with ExitStack() as held:
        if warc:
            files = _given(held, warc, chosen)
        else:
            found = {source: kept.archive_files(source, run or "*") for source in chosen}
            files = {s: dict.fromkeys(paths, "") for s, paths in found.items() if paths}
        if not files and not outcomes:
            what = f"run {run}" if run else "archived run of " + ", ".join(chosen)
            raise typer.BadParameter(f"no {what} in {kept}/archive")
        runs: dict[str, dict[str, Any]] = {
            source: {
                "archives": {str(path.absolute()): name for path, name in archives.items()},
                **window,
                # The whole archive says what the rows are; a part of it can only add to them.
                "rebuild": not (warc or run or since or until),
                "accept": accept,
                "dry_run": dry_run,
            }
            for source, archives in files.items()
        }
        results: Iterable[Result]
        if workers or cluster:
            from harvester.cluster import NoCluster

            told = partial(orders, "replay", runs, everyone, settings)
            try:
                results = _spread(told, settings, workers, cluster)
            except NoCluster as error:
                complain(str(error))
                return error.exit
        else:
            results = (reread(everyone, source, settings, **runs[source]) for source in runs)
        for result in results:
            outcomes.append(result.outcome)
            if result.outcome.report and not as_json:
                if dry_run:
                    _show_changes(result.outcome.report)
                if warc:
                    _show_others(result.outcome.source, result.others)
    _show(outcomes, as_json)
    return worst(outcomes)


def _given(
    held: ExitStack, warc: Sequence[Path], chosen: Sequence[str]
) -> dict[str, dict[Path, str]]:
    """The archive files that were named, by source, each with the name that it goes by in rows."""
    from harvester.archive.reader import read_run
    from harvester.archive.wacz import unpacked

    files: dict[str, dict[Path, str]] = {}
    for given in warc:
        if not given.is_file():
            raise typer.BadParameter(f"--warc {given}: no such file")
        paths = held.enter_context(unpacked(given))
        for path, name in paths.items():
            # A file of ours names its source; for one from elsewhere it must be said.
            told = read_run(path)
            source = told.source if told else (chosen[0] if len(chosen) == 1 else "")
            if not source:
                reason = "does not say which source it is of; name the source"
                raise typer.BadParameter(f"{given} {reason}")
            if source not in chosen:
                reason = f"is an archive of {source}, which was not asked for"
                raise typer.BadParameter(f"{given} {reason}")
            files.setdefault(source, {})[path] = name
    return files


def backfill(
    name: Annotated[str, typer.Argument(metavar="SOURCE")],
    archive: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="URL",
            help="The web archive: its CDX server, or where TimeMaps begin.",
        ),
    ],
    since: Since = None,
    until: Until = None,
    start_url: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="Another listing of the source's site.")
    ] = None,
    max_pages: Annotated[
        int, typer.Option(min=1, help="Pages of the listing whose captures are fetched.")
    ] = 1,
    output: Output = None,
    verbose: Verbose = False,
) -> int:
    """Take a listing's past from a web archive; the window is of the days of capture."""
    from harvester.backfill import Task
    from harvester.backfill import backfill as fetch
    from harvester.crawl import Exit, failed, gravest, project_settings
    from harvester.peek import is_address
    from harvester.sources import Sources
    from pipelines.dataset import open_dataset

    settings = project_settings(output, verbose=verbose)
    found = Sources(settings)
    [source] = chosen_of([name], False, found.names)
    if source not in found.sound:
        return unusable(found, source)
    for url in (archive, *(start_url or ())):
        if not is_address(url):
            raise typer.BadParameter(f"{url!r} is no http address")
    task = Task(archive=archive, max_pages=max_pages, **window_of(since, until))
    dataset = open_dataset(settings["HARVESTER_OUTPUT"])
    try:
        done = fetch(dataset, found.sound[source], settings, task, start_url=start_url)
    except Exception as error:
        outcome = failed(source, error)
        complain(f"{source}: {outcome.problem}")
        return outcome.exit
    if sys.stdout.isatty():
        typer.echo(
            f"{source}: {done.listed} captures listed, {done.fetched} fetched, {done.known} known"
        )
    for failure in done.failures:
        complain(f"{source}: {failure.url}: {failure.reason}")
    if not done.listed and not done.failures:
        complain(f"{source}: {archive} has no captures of its listing")
        return Exit.UNAVAILABLE
    return gravest(done.failures)


# Records that every archive has beside its pages.
_OF_NO_INTEREST = ("warcinfo", "request", "metadata")


def _show_others(source: str, others: Mapping[str, int]) -> None:
    """What other people's archives hold besides pages of the listing."""
    told = [
        f"{n} {reason}" for reason, n in sorted(others.items()) if reason not in _OF_NO_INTEREST
    ]
    if told:
        typer.echo(f"{source}: records left out: {', '.join(told)}")


def _show_changes(report: Report) -> None:
    """Each row that would change, field by field."""
    for before, after in report.changes:
        name = printable(after.title or after.teaser or after.url or "")
        typer.echo(f"{'change' if before else 'new'} {after.entry_id} {name}")
        for field in fields(after):
            old, new = getattr(before, field.name, None), getattr(after, field.name)
            if before is not None and old != new and field.name != "story_id":
                typer.echo(f"  {field.name}: {printable(str(old))} -> {printable(str(new))}")
    typer.echo(f"{report.run.source}: {len(report.changes)} rows would change")


def _warn_of_demo(output: Path, start_urls: Sequence[str] | None) -> None:
    from harvester.demo import is_demo

    if not start_urls and is_demo(output):
        complain(f"{output} holds the demo's rows; `make clean` removes them")


def _show(outcomes: Sequence[Outcome], as_json: bool) -> None:
    from pipelines.health import Severity

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
                for finding in outcome.report.course.findings:
                    if finding.severity is Severity.NOTICE:
                        typer.echo(
                            f"{outcome.source}: {printable(f'{finding.url}: {finding.reason}')}"
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
            "findings": [asdict(finding) for finding in report.course.findings],
            "pages": [asdict(page) for page in report.course.pages],
            "changes": [
                {"before": before and asdict(before), "after": asdict(after)}
                for before, after in report.changes
            ],
        }
    return plain
