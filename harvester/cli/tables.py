"""Commands that look at the data set: is it whole, what did it say, in another form."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harvester.cli.arguments import EntryId, Json, Names, Output, chosen_of
from harvester.terminal import complain, print_json, printable

if TYPE_CHECKING:
    from pipelines.entry import Version


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
    from harvester.inspection import pieces
    from pipelines.dataset import open_dataset

    settings = project_settings(output)
    known = sources(settings)
    dataset = open_dataset(settings["HARVESTER_OUTPUT"]).refreshed(anew=True)
    if not dataset.root.is_dir():
        raise typer.BadParameter(f"--output {dataset}: no such folder")
    chosen = chosen_of(names, not names, sorted({*known, *dataset.everyone()})) if names else []
    worst = Exit.OK
    for piece in pieces(dataset, chosen, known, settings):
        findings = piece.look()
        for finding in findings:
            complain(f"{piece.name}: {dataset.named(finding)}")
        if findings and repair and piece.mend is not None:
            done = piece.mend(findings)
            findings = piece.look()
            complain(f"{piece.name}: {done}{'; what is left:' if findings else ''}")
            for finding in findings:
                complain(f"{piece.name}: {dataset.named(finding)}")
        elif findings and repair:
            complain(f"{piece.name}: this cannot be repaired by itself")
        if findings:
            worst = Exit.DATA
    return worst


def diff(entry_id: EntryId, output: Output = None, as_json: Json = False) -> int:
    """Show what an entry said, version by version, and the page that proves each."""
    from harvester.crawl import project_settings
    from pipelines.dataset import open_dataset

    dataset = open_dataset(project_settings(output)["HARVESTER_OUTPUT"]).refreshed()
    versions = dataset.versions_of(entry_id)
    if not versions:
        raise typer.BadParameter(f"no entry {entry_id!r} in {dataset}")
    if as_json:
        print_json([asdict(version) for version in versions])
        return 0
    show_versions(versions)
    return 0


def show_versions(versions: Iterable[Version]) -> None:
    """Print versions of an entry, each as what it changed."""
    from pipelines.revisions import changes

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
    from pipelines.dataset import open_dataset
    from pipelines.export import as_csv, as_feed, as_jsonl, new_file, write_duckdb

    if to not in ("csv", "jsonl", "feed", "duckdb"):
        raise typer.BadParameter(f"--to {to!r}: there are csv, jsonl, feed, duckdb")
    dataset = open_dataset(project_settings(output)["HARVESTER_OUTPUT"]).refreshed()
    stored = dataset.sources()
    if not stored:
        raise typer.BadParameter(f"no rows in {dataset}")
    for name in names or ():
        if name not in stored:
            raise typer.BadParameter(
                f"no rows of {name!r} in {dataset}; there are {', '.join(stored)}"
            )
    chosen = list(dict.fromkeys(names or stored))
    if to == "feed" and len(chosen) != 1:
        raise typer.BadParameter(f"a feed is of one source; name one of {', '.join(stored)}")
    if file is None:
        if to == "duckdb":
            raise typer.BadParameter("--to duckdb needs --file FILE")
    elif file.exists():
        raise typer.BadParameter(f"--file {file} exists; move it away or name another")
    elif not file.parent.is_dir():
        raise typer.BadParameter(f"--file {file}: there is no folder {file.parent}")
    if to == "duckdb" and file is not None:
        write_duckdb(dataset, chosen, file)
        return 0
    lines: Iterable[str]
    if to == "feed":
        lines = [as_feed(dataset, chosen[0])]
    else:
        form = {"csv": as_csv, "jsonl": as_jsonl}[to]
        lines = form(row for name in chosen for row in dataset.records(name))
    if file is None:
        sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr]
        sys.stdout.writelines(lines)
        return 0
    with new_file(file) as draft, draft.open("x", encoding="utf-8", newline="") as written:
        written.writelines(lines)
    return 0
