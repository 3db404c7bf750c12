"""Commands about the archive: is it sound, what proves a row, packages for a viewer."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from harvester.cli.arguments import EntryId, Json, Names, Output, Since, Until, window_of
from harvester.cli.tables import show_versions
from harvester.terminal import complain, print_json, printable

app = typer.Typer(
    name="archive",
    help="Check the archive, prove a row by it, pack it for a viewer.",
    no_args_is_help=True,
)

NewFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Write it to this new file.")]


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(metavar="[SOURCE|FILE]...")] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make indices anew that are not their file's.")
    ] = False,
    output: Output = None,
) -> int:
    """Hold archive files against the WARC standard, byte by byte; name each fault and its offset."""
    from harvester.archive.inspection import Inspected, check_index, inspect
    from harvester.archive.reader import make_index
    from harvester.archive.wacz import unpacked
    from harvester.crawl import Exit, project_settings
    from harvester.proof import fetched
    from pipelines.dataset import open_dataset
    from pipelines.table import Damaged

    dataset = open_dataset(project_settings(output)["HARVESTER_OUTPUT"]).refreshed()
    everyone = dataset.everyone()
    files = [Path(name) for name in names or () if name not in everyone]
    for path in files:
        if not path.is_file():
            there = f"; sources with an archive are {', '.join(everyone)}" if everyone else ""
            raise typer.BadParameter(f"{path}: no such source or file{there}")
    chosen = [name for name in names or everyone if name in everyone]
    if not names and not everyone:
        raise typer.BadParameter(f"no archive in {dataset}")
    seen, found = Inspected(), 0
    for given in files:
        try:
            with unpacked(given) as paths:
                for damage in inspect(paths, seen):
                    found += 1
                    complain(str(replace(damage, path=Path(paths[damage.path]))))
        except Damaged as error:
            found += 1
            complain(str(error))
    for source in chosen:
        together = Inspected()
        archives = dataset.archive_files(source)
        for damage in inspect(archives, together):
            found += 1
            complain(f"{source}: {dataset.named(damage)}")
        for path in archives:
            changed = [link for link in [fetched(dataset, path)] if link.holds is False]
            for link in changed:
                found += 1
                complain(f"{source}: {link.text}")
            for damage in check_index(path):
                complain(f"{source}: {dataset.named(damage)}")
                if repair and not changed:
                    make_index(path)
                else:
                    found += 1
        seen.files, seen.count = seen.files + together.files, seen.count + together.count
    if sys.stdout.isatty():
        typer.echo(f"{seen.files} files, {seen.count} records, {found} faults")
    return Exit.DATA if found else Exit.OK


@app.command()
def prove(entry_id: EntryId, output: Output = None, as_json: Json = False) -> int:
    """Verify the chain of digests from a row back to the pages that prove it."""
    from harvester.crawl import Exit, project_settings, sources
    from harvester.proof import prove as links
    from pipelines.dataset import open_dataset

    settings = project_settings(output)
    dataset = open_dataset(settings["HARVESTER_OUTPUT"]).refreshed()
    row = dataset.entry(entry_id)
    if row is None:
        raise typer.BadParameter(f"no entry {entry_id!r} in {dataset}")
    chain = list(links(dataset, row, dataset.versions_of(entry_id), sources(settings), settings))
    if as_json:
        print_json([asdict(link) for link in chain])
    for link in chain:
        if link.holds is False:
            complain(dataset.named(link.text))
        elif not as_json:
            word = "holds" if link.holds else "not looked at"
            typer.echo(f"{word}: {printable(dataset.named(link.text))}")
    return Exit.OK if all(link.holds is not False for link in chain) else Exit.DATA


@app.command()
def pack(
    names: Names = None,
    since: Since = None,
    until: Until = None,
    run: Annotated[str | None, typer.Option(metavar="ID", help="Only this run.")] = None,
    file: NewFile = None,
    output: Output = None,
) -> int:
    """Pack archive files as a WACZ, which ReplayWeb.page opens; the window is of days of fetching."""
    from harvester.archive.reader import lines_of
    from harvester.archive.wacz import pack as write
    from harvester.crawl import project_settings
    from pipelines.dataset import open_dataset, run_of
    from pipelines.export import new_file
    from pipelines.run import in_window, run_started

    dataset = open_dataset(project_settings(output)["HARVESTER_OUTPUT"]).refreshed()
    window = window_of(since, until)
    everyone = dataset.everyone()
    for name in names or ():
        if name not in everyone:
            raise typer.BadParameter(f"no archive of {name!r} in {dataset}")
    files = []
    for source in dict.fromkeys(names or everyone):
        for path in dataset.archive_files(source, run or "*"):
            started = run_started(run_of(path))
            if started is None or in_window(started.date(), **window):
                files.append(path)
    for path in list(files):  # a repeated answer is shown by the file that holds its body
        for name in {line.original[0] for line in lines_of(path) if line.original}:
            original = path.with_name(name)
            if original not in files and original.is_file():
                files.append(original)
    if not files:
        raise typer.BadParameter(f"no archive files of that kind in {dataset}/archive")
    target = file or Path(f"{'-'.join(names or ['archive'])}.wacz")
    if target.exists():
        raise typer.BadParameter(f"--file {target} exists; move it away or name another")
    if not target.parent.is_dir():
        raise typer.BadParameter(f"--file {target}: there is no folder {target.parent}")
    with new_file(target) as draft:
        pages = write(files, ", ".join(names or everyone), draft)
    typer.echo(f"{target}: {len(files)} files, {pages} pages")
    return 0


def show(
    entry_id: EntryId,
    page: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the page that proves it here.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write its record here, as archived.")
    ] = None,
    output: Output = None,
    as_json: Json = False,
) -> int:
    """Show an entry, its versions, and the record of the archive that proves it."""
    from harvester.crawl import Exit, project_settings
    from harvester.proof import find
    from harvester.replay import page_of
    from pipelines.dataset import open_dataset
    from pipelines.export import new_file

    settings = project_settings(output)
    dataset = open_dataset(settings["HARVESTER_OUTPUT"]).refreshed()
    row = dataset.entry(entry_id)
    if row is None:
        raise typer.BadParameter(f"no entry {entry_id!r} in {dataset}")
    for option, file in (("--page", page), ("--record", record)):
        if file is not None and (file.exists() or not file.parent.is_dir()):
            reason = "exists; name another" if file.exists() else f"no folder {file.parent}"
            raise typer.BadParameter(f"{option} {file}: {reason}")
    versions = dataset.versions_of(entry_id)
    found = find(dataset, row.warc_file, row.warc_record_id)
    told = {
        "file": dataset.named(dataset.root / row.warc_file),
        "record": row.warc_record_id,
        "offset": found.line.offset if found else None,
        "fetched_at": found.answer.fetched_at if found and found.answer else None,
        "address": found.line.url if found else None,
        "digest": found.line.digest if found else None,
        "rendered_by": found.answer.rendered_by if found and found.answer else None,
        "revisit_of": found.answer.original.record_id
        if found and found.answer and found.line.original
        else None,
    }
    if as_json:
        print_json({"entry": asdict(row), "versions": [asdict(v) for v in versions], "proof": told})
    else:
        for title, values in (("entry", asdict(row)), ("proof", told)):
            typer.echo(f"{title}:")
            for name, value in values.items():
                if value is not None:
                    typer.echo(f"  {name}: {printable(_text(value))}")
            if title == "entry":
                show_versions(versions)
    if found is None or found.answer is None:
        complain(f"{told['file']}: the record {row.warc_record_id} is missing or damaged")
        return Exit.DATA
    if page is not None:
        with new_file(page) as draft:
            draft.write_bytes(page_of(found.answer, settings).body)
    if record is not None:
        with new_file(record) as draft:
            draft.write_bytes(found.record)
    return Exit.OK


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
