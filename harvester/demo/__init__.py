"""The demo: two small sites, served by this process on 127.0.0.1, crawled by the real spiders.

The pages in ``site/`` were written for it after what is known of the sources: repeats under a second
address, a missing title, a missing date, "// 24.02.2022", a heading "Pages", hidden e-mail addresses,
cut teasers, a press release and its report.  They are not snapshots of anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Final

import typer

from harvester.terminal import complain, print_table
from pipelines.check import Finding

if TYPE_CHECKING:
    from pipelines.dataset import Dataset

SITE: Final = Path(__file__).parent / "site"
PAGES: Final = {
    "/news/page/2/?country=belarus": "amnesty_usa_2.html",
    "/news/page/3/?country=belarus": "amnesty_usa_3.html",
    "/en/news?page=14": "belhelcom_14.html",
    "/en/news?page=15": "belhelcom_15.html",
}
START: Final = {"amnesty_usa": "/news/page/2/?country=belarus", "belhelcom": "/en/news?page=14"}

# Lies beside the tables of a data set that the demo wrote.
MARK: Final = "DEMO.txt"
_MARK_TEXT: Final = (
    "The rows in this folder come from the demo's own pages, not from any site.\n"
    "Remove them before the first real run: make clean\n"
)


def check_note(output: Path) -> Iterator[Finding]:
    """What is wrong with the demo's note, if there is one."""
    path = output / MARK
    if path.exists() and path.read_bytes() != _MARK_TEXT.encode():
        yield Finding(path, "it is not what was written")


def write_note(output: Path) -> None:
    """Say that a folder holds the demo's data set."""
    (output / MARK).write_text(_MARK_TEXT, encoding="utf-8")


def is_demo(output: Path) -> bool:
    """Whether a folder holds the demo's data set."""
    return (output / MARK).exists()


@contextmanager
def serving() -> Iterator[str]:
    """Serve the demo's pages; gives their address, ``http://127.0.0.1:PORT``."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def run_demo(output: Path) -> int:
    """Crawl both sites into ``output``, and print what was stored, where, and how to load it."""
    from harvester.crawl import Exit, crawl, project_settings, worst
    from pipelines.dataset import Dataset

    if (output / "entries").exists() and not is_demo(output):
        complain(
            f"{output} holds a data set already; give the demo a folder: harvester demo --output DIR"
        )
        return Exit.CANNOT_CREATE
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_note(output)
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}")
        return Exit.CANNOT_CREATE
    with serving() as site:
        typer.echo(f"Two small sites are served at {site}; their pages lie in {SITE}.")
        arguments = {name: {"start_url": site + path, "full": True} for name, path in START.items()}
        outcomes = crawl(arguments, project_settings(output), progress=False)
    for outcome in outcomes:
        if outcome.problem or outcome.report is None:
            complain(f"{outcome.source}: {outcome.problem}")
            continue
        counts = outcome.report.counts
        typer.echo(
            f"  {outcome.source:<12} {len(outcome.report.course.pages)} pages, {counts.entries} entries: "
            f"{counts.new} new, {counts.repeats} repeats, {counts.seen} seen before; "
            f"{outcome.report.rows} rows stored"
        )
    if code := worst(outcomes):
        return code
    _show_rows(Dataset(output), output)
    return Exit.OK


def _show_rows(dataset: Dataset, output: Path) -> None:
    frame = dataset.read()
    typer.echo("\nWhat was stored")
    shown = {"source": 11, "published": 10, "kind": 13, "title": 48, "teaser": 24, "repeats": 7}
    plain = json.loads(frame[list(shown)].to_json(orient="values", date_format="iso"))
    rows = [[c if n != "published" or c is None else c[:10] for n, c in zip(shown, row, strict=True)]
            for row in plain]  # fmt: skip
    print_table(list(shown), rows, list(shown.values()))
    typer.echo(f"""
Where it is
  {output}/entries   the data set: {len(frame)} rows, Parquet, one folder a source
  {output}/archive   every page as it came, WARC; `harvester replay` rebuilds the rows from it
  {output}/runs      one ledger a run: what was asked, seen, stored, refused

How to load it
  pandas   pandas.read_parquet("{output}/entries")
  DuckDB   SELECT * FROM read_parquet('{output}/entries/**/*.parquet', hive_partitioning = true)
  Polars   polars.read_parquet("{output}/entries")""")  # noqa: S608 -- a line to read, not to run


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = PAGES.get(self.path)
        body = (SITE / name).read_bytes() if name else b"There is no such page in the demo.\n"
        self.send_response(200 if name else 404)
        self.send_header("Content-Type", "text/html" if name else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """The demo's output is not a server's log."""
