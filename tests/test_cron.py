"""What an operator hears who does not look: status, watchdogs, alerts, logs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from conftest import a_page
from test_crawl import crawl

from harvester.status import duration, statuses
from pipelines.dataset import Dataset


@pytest.fixture
def listener() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """An address, and what was posted to it: path and body."""
    heard: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            heard.append((self.path, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/ping", heard
        server.shutdown()


def test_a_watchdog_and_a_person_are_told(run, site, listener, tmp_path) -> None:
    address, heard = listener
    site.pages["/list/1"] = a_page(1, last=1)
    told = tmp_path / "told.txt"
    tee = f'{sys.executable} -c \'import sys; open("{told}", "a").write(sys.stdin.read())\''
    more = ("--ping", address, "--alert", tee, "--log", tmp_path / "log.jsonl")
    done = crawl(run, site, tmp_path / "o", *more)
    assert (done.code, done.err) == (0, "")
    assert heard == [("/ping/start", ""), ("/ping", "")]
    assert not told.exists()
    done = crawl(run, site, tmp_path / "o", *more, start="/gone")
    assert done.code == 69
    assert heard[2][0] == "/ping/start"
    assert heard[3][0] == "/ping/fail"
    assert "HTTP 404" in heard[3][1]
    assert told.read_text() == heard[3][1]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["source"], line["exit"], line["new"]) for line in lines] == [
        ("amnesty_org", 0, 3),
        ("amnesty_org", 69, 0),
    ]
    done = crawl(run, site, tmp_path / "o", "--alert", address, start="/gone")
    assert json.loads(heard[-1][1])["text"].startswith("amnesty_org: ")


def test_a_watchdog_that_does_not_answer_changes_nothing(run, site, tmp_path) -> None:
    site.pages["/list/1"] = a_page(1, last=1)
    more = ("--ping", "http://127.0.0.1:9/", "--log", tmp_path / "none" / "log")
    done = crawl(run, site, tmp_path / "o", *more)
    assert done.code == 0
    assert done.err.count("127.0.0.1:9") == 2
    assert "--log" in done.err


def test_status_says_who_fares_how(run, site, tmp_path) -> None:
    order = ("harvester", "status", "amnesty_org", "--output", tmp_path / "o")
    assert (run(*order).code, run(*order).err) == (0, "")
    done = run(*order, "--max-age", "2h")
    assert done.code == 69
    assert "no good run ever" in done.err
    site.pages["/list/1"] = a_page(1, last=1)
    assert crawl(run, site, tmp_path / "o").code == 0
    assert (run(*order, "--max-age", "2h").code, run(*order, "--max-age", "2h").err) == (0, "")
    [told] = json.loads(run(*order, "--json").out)
    assert (told["pages"], told["entries"], told["new"], told["rows"]) == (1, 3, 3, 3)
    dataset, now = Dataset(tmp_path / "o"), datetime.now(UTC)
    late = now + timedelta(hours=5)
    [status] = statuses(dataset, ["amnesty_org"], late, duration("2h"))
    assert status.problem is not None and "no good run since" in status.problem
    assert crawl(run, site, tmp_path / "o", start="/gone").code == 69
    done = run(*order)
    assert done.code == 69
    assert "HTTP 404" in done.err
    [status] = statuses(dataset, ["amnesty_org"], now, None)
    assert status.last_good is not None and status.last_good < (status.finished or now)
    assert run(*order, "--max-age", "soon").code == 64
    [ledger] = sorted((tmp_path / "o" / "runs").iterdir())[-1:]
    ledger.write_text("{")
    assert ledger.name in run(*order).err


@pytest.mark.parametrize("text", ["", "2", "h", "2 h", "-1h", "1w", "9999999h"])
def test_what_is_no_duration(text) -> None:
    with pytest.raises(ValueError, match="no duration"):
        duration(text)
