"""What is shown on the terminal: lines, tables, JSON.  Text from a page is made safe here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date

import typer


def complain(line: str) -> None:
    """Say on standard error what is wrong, in one line."""
    typer.echo(f"harvester: {printable(line)}", err=True)


def print_json(value: object) -> None:
    """Print plain values for machines; dates become ISO text."""

    def iso(other: object) -> str:
        if isinstance(other, date):
            return other.isoformat()
        raise TypeError(type(other).__name__)

    typer.echo(json.dumps(value, ensure_ascii=False, indent=1, default=iso))


def print_table(
    head: Sequence[str], rows: Sequence[Sequence[object]], widths: Sequence[int] | None = None
) -> None:
    """Print a table, a line a row; cells that do not fit are cut, missing values are ``-``.

    It fits the terminal, unless the widths of its columns are given.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(head):
        table.add_column(
            name, no_wrap=True, overflow="ellipsis", width=widths[place] if widths else None
        )
    for row in rows:
        table.add_row(*(Text("-" if cell is None else printable(str(cell))) for cell in row))
    console = Console()
    if widths:
        console.width = sum(widths) + 2 * len(widths)
    console.print(table)


def printable(text: str) -> str:
    """Text that neither steers a terminal nor breaks the one line that it stands on."""
    text = " ".join(text.split())
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
