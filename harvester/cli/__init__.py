"""The command line: one thin function per command.

Quiet on success when nobody watches; one line on standard error for each thing that is wrong.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer

from harvester.cli import archives, pages, runs, tables
from harvester.terminal import complain
from pipelines.version import VERSION

# The base of all of Typer's complaints about arguments; where it lives differs between versions.
UsageError: Any = typer.BadParameter.__base__

app = typer.Typer(
    name="harvester",
    help="News listing pages into a data set that people can trust.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (runs.crawl, runs.replay, runs.backfill, tables.check, tables.diff, tables.export):
    app.command()(command)
app.command()(archives.show)
app.add_typer(archives.app)
app.command("sources")(pages.sources_)
app.command()(pages.status)
app.command()(pages.peek)
app.command()(pages.add)
app.command()(pages.demo)


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
    from harvester.project import ProjectError
    from pipelines.table import DatasetError

    gc.set_threshold(50_000, 20, 50)  # imports make many objects, and hardly any cycles
    given = list(arguments) if arguments is not None else sys.argv[1:]
    if given[:1] == ["crawl"] and "--help" not in given:
        # Scrapy looks at all frames above it, many times, while it is imported; here there are few.
        import_module("harvester.crawl")
    try:
        code = app(list(arguments) if arguments is not None else None, standalone_mode=False)
    except UsageError as error:
        message = error.format_message().removeprefix("Invalid value: ")
        complain(f"{message} (see `harvester --help`)")
        code = 64
    except (DatasetError, ProjectError) as error:
        from harvester.crawl import exit_of

        complain(str(error))
        code = exit_of(error)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    sys.exit(int(code or 0))
