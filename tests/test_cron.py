"""What an operator hears who does not look: status, watchdogs, alerts, logs."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from conftest import ROOT, a_page
from test_crawl import crawl, frame
from test_many import Project, checkout

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
    assert "HTTP 404; no good run since " in done.err
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


# ------------------------------------------------------------------ the lines of docs/operator.md
GUIDE = (ROOT / "docs" / "operator.md").read_text("utf-8")
PLACE = "/srv/harvester"  # what a user fills in


def block(heading: str) -> str:
    """The first block of code under a heading."""
    [found] = re.findall(rf"^## {heading}$.*?^```\w*\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    return found


def installed(root: Path, *urls: str) -> Project:
    """A checkout with a source and with the environment that ``make install`` makes."""
    project = checkout(root)
    project.source("news", *urls)
    (root / ".venv").symlink_to(sys.prefix)
    return project


NAMESPACE = """
set -e
mount --bind {0}/spool /var/spool
mount --bind {0}/nothing /etc/cron.d
mount --bind {0}/run /run
mount --bind {0}/sbin /usr/sbin
exec {0}/sbin/cron -f
"""


@dataclass
class Cron:
    """A cron daemon that sees nothing of this machine's."""

    folder: Path
    process: subprocess.Popen

    def set_crontab(self, text: str) -> None:
        draft = self.folder / "crontab"
        draft.write_text(text)
        draft.chmod(0o600)
        draft.rename(self.folder / "spool/cron/crontabs/root")  # cron looks at the folder's time

    def is_idle(self) -> bool:
        return not Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()

    def mails(self) -> list[str]:
        return [mail.read_text() for mail in (self.folder / "mail").iterdir()]


@pytest.fixture
def cron(tmp_path) -> Iterator[Cron]:
    daemon = shutil.which("cron")
    if daemon is None:
        pytest.skip("no cron here")
    if os.geteuid() != 0:
        pytest.skip("cron takes on other users' rights, which only root may")
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no right to a view of the file system of its own")
    for folder in ("spool/cron/crontabs", "nothing", "run", "sbin", "mail"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(daemon, tmp_path / "sbin" / "cron")
    sendmail = tmp_path / "sbin" / "sendmail"
    sendmail.write_text(f"#!/bin/sh\ncat > {tmp_path}/mail/$$\n")
    sendmail.chmod(0o755)
    process = subprocess.Popen(["unshare", "-m", "sh", "-c", NAMESPACE.format(tmp_path)])
    yield Cron(tmp_path, process)
    process.terminate()
    process.wait()


def test_the_crontab_of_the_guide(cron, site, tmp_path) -> None:
    site.pages["/list/1"] = a_page(1, last=1)
    fine, broken, old = (
        installed(tmp_path / name, site.url(path))
        for name, path in (("fine", "/list/1"), ("broken", "/gone"), ("old", "/list/1"))
    )
    assert old.run("crawl", "--all").code == 0
    lines = block("cron").splitlines()
    settings = [line for line in lines if not line[:1].isdigit()]
    crawling, status, check = (line for line in lines if line[:1].isdigit())
    assert settings == ["HARVESTER_OPERATOR=you@example.org"]
    # All at the next full minute.  Each leaves a mark at its end, so that it is known when.
    at = datetime.now() + timedelta(seconds=65)
    jobs = [(crawling, fine), (crawling, broken), (status, old), (check, old)]
    told = []
    for number, (line, project) in enumerate(jobs):
        assert line.startswith(("17 * * * *  cd", "43 7 * * *  cd", "11 4 * * 0  cd"))
        command = line.split(None, 5)[5].replace(PLACE, str(project.root))
        path = (
            f"PYTHONPATH={project.root}"  # the sources are this checkout's, the libraries are not
        )
        told.append(f"{at:%M %H} * * *  export {path}; {command}; touch {tmp_path}/done.{number}")
    cron.set_crontab("\n".join([*settings, *told]) + "\n")
    wait_for(lambda: len(list(tmp_path.glob("done.*"))) == len(jobs))
    wait_for(cron.is_idle)
    assert len(frame(fine.output)) == 3
    [archive] = (fine.output / "archive").glob("*/*.warc.gz")
    assert b"you@example.org" in gzip.decompress(archive.read_bytes())
    [mail] = cron.mails()
    head, _, body = mail.partition("\n\n")
    assert str(broken.root) in head
    assert body.startswith("harvester: news: http://127.0.0.1") and "HTTP 404" in body
    assert body.count("\n") == 1


def wait_for(condition: Callable[[], object]) -> None:
    """Cron begins its work at full minutes."""
    for _ in range(900):
        if condition():
            return
        time.sleep(0.2)
    pytest.fail("cron has not done it in three minutes")


def units() -> dict[str, str]:
    """The files that the guide shows for systemd, by name."""
    parts = re.split(r"^# /etc/systemd/system/(\S+)\n", block("systemd"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_systemd_takes_the_units_of_the_guide(tmp_path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("no systemd-analyze here")
    project = installed(tmp_path / "fine", "http://127.0.0.1:9/")
    for name, text in units().items():
        (tmp_path / name).write_text(text.replace(PLACE, str(project.root)))
    done = subprocess.run(
        [verify, "verify", "--man=no", *(tmp_path / name for name in units())],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    own = [line for line in done.stderr.splitlines() if "harvester" in line]
    assert (done.returncode, own) == (0, [])


def test_the_command_that_systemd_is_to_start(site, tmp_path) -> None:
    site.pages["/list/1"] = a_page(1, last=1)
    project = installed(tmp_path / "fine", site.url("/list/1"))
    service = units()["harvester.service"].replace(PLACE, str(project.root))
    said = dict(
        re.findall(r"^(ExecStart|WorkingDirectory|Environment)=(.*)$", service, re.MULTILINE)
    )
    name, _, value = said["Environment"].partition("=")
    done = subprocess.run(
        shlex.split(said["ExecStart"]),
        cwd=said["WorkingDirectory"], env={name: value, "PYTHONPATH": str(project.root)},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(frame(project.output)) == 3
    [line] = (project.root / "runs.jsonl").read_text().splitlines()
    assert json.loads(line)["source"] == "news"
