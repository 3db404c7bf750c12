"""What is shown on the terminal: lines, tables, JSON.  Text from a page is made safe here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import Final

import typer

# Columns up to this width are shown whole; longer ones share what is left of the line.
_SHORT: Final = 13


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

    cells = [["-" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    longest = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    widths = widths or _fitting(longest, Console().width - 2 * len(head))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, width in zip(head, widths, strict=True):
        table.add_column(name, no_wrap=True, overflow="ellipsis", width=width)
    for row in cells:
        table.add_row(*map(Text, row))
    console = Console()
    console.width = max(console.width, sum(widths) + 2 * len(widths))
    console.print(table)


def _fitting(longest: Sequence[int], room: int) -> list[int]:
    """Widths of columns: short ones whole, the others share what is left of the line."""
    short = sum(width for width in longest if width <= _SHORT)
    many = sum(width > _SHORT for width in longest)
    share = max((room - short) // many, _SHORT) if many else 0
    return [width if width <= _SHORT else min(width, share) for width in longest]


def printable(text: str) -> str:
    """Text that neither steers a terminal nor breaks the one line that it stands on."""
    text = " ".join(text.split())
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
