"""The contract of the data set for machines, and its dictionary for people: both made from the columns.

    python -m pipelines.contract        write contract.odcs.yaml and output/README.md anew

The file follows the Open Data Contract Standard (https://bitol-io.github.io/open-data-contract-standard).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pipelines.entry import PARTITION, Column
from pipelines.known import ENTRIES, REVISIONS
from pipelines.table import CONTRACT_VERSION, Table

CONTRACT: Final = Path(__file__).with_name("contract.odcs.yaml")
DICTIONARY: Final = Path(__file__).parents[1] / "output" / "README.md"
_MEANING: Final = {
    ENTRIES.name: "one row for each distinct entry",
    REVISIONS.name: "every version that an entry ever had",
}
_KEYS: Final = {ENTRIES.name: ("entry_id",), REVISIONS.name: ("entry_id", "revision")}
# What a column type is called: by the standard, by Parquet and its readers, in the dictionary.
_TYPES: Final = {
    "string": ("string", "string", "string"),
    "strings": ("array", "list<string>", "list of string"),
    "wall_clock": ("timestamp", "timestamp[us]", "timestamp[us], no zone"),
    "instant": ("timestamp", "timestamp[us, UTC]", "timestamp[us, UTC]"),
    "integer": ("integer", "int32", "int32"),
    "boolean": ("boolean", "bool", "bool"),
}
_SECTION: Final = re.compile(r"(?<=\n)## Columns of `(\w+)`\n.*?(?=\n## )", re.DOTALL)


def contract() -> str:
    """The contract as YAML."""
    lines = [
        "# Made by `python -m pipelines.contract` from the columns in pipelines/entry.py.",
        "apiVersion: v3.1.0",
        "kind: DataContract",
        "id: harvester",
        "name: Harvester data set",
        f'version: "{CONTRACT_VERSION}.0.0"',
        "status: active",
        "description:",
        '  purpose: "Entries of news listing pages, each with the page that proves it"',
        "schema:",
    ]
    for table in (ENTRIES, REVISIONS):
        lines += [
            f"  - name: {table.name}",
            "    logicalType: object",
            "    physicalType: table",
            f"    physicalName: {json.dumps(f'{table.name}/{PARTITION.name}=*/*.parquet')}",
            f"    description: {json.dumps(_MEANING[table.name])}",
            "    properties:",
            *(line for column in _columns(table) for line in _property(table, column)),
        ]
    return "\n".join(lines) + "\n"


def dictionary(text: str) -> str:
    """A text in which the sections of columns are as the contract has them."""

    def section(match: re.Match[str]) -> str:
        table = {each.name: each for each in (ENTRIES, REVISIONS)}[match[1]]
        rows = (
            f"| {c.name} | {_TYPES[c.type][2]} | {'yes' if c.nullable else 'no'} | {c.meaning} |\n"
            for c in _columns(table)
        )
        head = "| column | type | null | meaning |\n|---|---|---|---|\n"
        return f"## Columns of `{table.name}`\n\n{head}{''.join(rows)}"

    return _SECTION.sub(section, text)


def _columns(table: Table[Any]) -> Iterator[Column]:
    """The columns as readers see them: the folder's name is the second."""
    yield table.columns[0]
    yield PARTITION
    yield from table.columns[1:]


def _property(table: Table[Any], column: Column) -> Iterator[str]:
    logical, physical, _ = _TYPES[column.type]
    yield f"      - name: {column.name}"
    yield f"        logicalType: {logical}"
    yield f"        physicalType: {json.dumps(physical)}"
    yield f"        required: {json.dumps(not column.nullable)}"
    if column.name in _KEYS[table.name]:
        yield "        primaryKey: true"
        yield f"        primaryKeyPosition: {_KEYS[table.name].index(column.name) + 1}"
    if column is PARTITION:
        yield "        partitioned: true"
        yield "        partitionKeyPosition: 1"
    if logical == "array":
        yield "        items:"
        yield "          logicalType: string"
    yield f"        description: {json.dumps(column.meaning)}"


if __name__ == "__main__":
    CONTRACT.write_text(contract(), "utf-8")
    DICTIONARY.write_text(dictionary(DICTIONARY.read_text("utf-8")), "utf-8")
