"""Many sources in one process: whatever one of them does, the others are complete."""

from __future__ import annotations

import gzip
import json
import os
import re
import resource
import shutil
import signal
import ssl
import subprocess
import sys
import time
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Event, Lock, Thread

import pytest
from conftest import ROOT, article, listing
from test_crawl import frame, ledgers
from test_hostile import COMMAND, MEMORY, bomb

from harvester.crawl import project_settings

FILES = 256  # what some systems let a process hold open

# What the temporary sources have in common; tests are not to wait for the politeness that others test.
BASE = """
from harvester.parsers.pattern import ListingPattern
from harvester.spider import ListingSpider

class Base(ListingSpider):
    language = "en"
    pattern = ListingPattern(
        record="article.post", title=".post-title", link=".post-title a", date=".post-byline",
        teaser=".post-excerpt", next_page=".post-paginationNext a[href]", date_format="%B %d, %Y",
    )
    custom_settings = {"DOWNLOAD_DELAY": 0, "AUTOTHROTTLE_ENABLED": False}
"""


@dataclass
class Web:
    """A server that many hosts share: all of 127.0.0.0/8.  Each source has a folder; two pages lie in it.

    ``answers`` take the place of pages, by path; ``Late`` ones wait until they are let go.
    """

    port: int = 0
    secure: bool = False
    answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    asked: dict[str, list[tuple[float, str]]] = field(default_factory=lambda: defaultdict(list))
    logins: dict[str, str | None] = field(default_factory=dict)
    agents: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    now: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)
    let_go: Event = field(default_factory=Event)
    _lock: Lock = field(default_factory=Lock)

    def url(self, host: str, path: str) -> str:
        return f"http{'s' if self.secure else ''}://{host}:{self.port}{path}"

    def enter(self, host: str) -> None:
        with self._lock:
            self.now.update((host, "all"))
            self.most |= self.now

    def leave(self, host: str) -> None:
        with self._lock:
            self.now.subtract((host, "all"))


def titles(name: str) -> list[str]:
    return [f"The {place} report of {name}" for place in ("first", "second", "third", "fourth")]


def page(name: str, number: int) -> bytes:
    records = [
        article(title, f"/{name}/{title[4:9]}", f"July {20 - place}, 2011", f"{title} says...")
        for place, title in enumerate(titles(name))
    ]
    half = records[2 * number - 2 : 2 * number]
    return listing(*half, next_page=f"/{name}/2" if number == 1 else None).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def do_GET(self) -> None:
        host = self.headers["Host"].partition(":")[0]
        self.web.enter(host)
        try:
            self.web.asked[host].append((time.monotonic(), self.path))
            self.web.logins[self.path] = self.headers["Authorization"]
            self.web.agents[self.path].add(self.headers["User-Agent"])
            answer = self.web.answers.get(self.path)
            match = re.fullmatch(r"/(\w+)/([12])", self.path)
            if answer:
                answer(self)
            elif match:
                self.reply(200, page(match[1], int(match[2])))
            else:
                self.reply(404, b"no such page")
        except OSError:
            self.close_connection = True
        finally:
            self.web.leave(host)

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "text/html; charset=utf-8", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 500

    def verify_request(self, _: object, client: tuple[str, int]) -> bool:
        return client[0].startswith("127.")


def serving(secure: ssl.SSLContext | None = None) -> Iterator[Web]:
    web = Web(secure=secure is not None)
    with Server(("0.0.0.0", 0), type("Own", (Handler,), {"web": web})) as server:
        web.port = server.server_address[1]
        if secure:
            server.socket = secure.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        Thread(target=server.serve_forever, daemon=True).start()
        yield web
        web.let_go.set()
        server.shutdown()


@pytest.fixture
def web() -> Iterator[Web]:
    yield from serving()


@dataclass
class Ended:
    code: int
    out: str
    err: list[str]
    memory: int = 0


@dataclass
class Project:
    """A checkout with sources of its own."""

    root: Path

    @property
    def output(self) -> Path:
        return self.root / "output"

    @property
    def _where(self) -> dict:
        return {"cwd": self.root, "env": {**os.environ, "PYTHONPATH": str(self.root)}}

    def file(self, name: str, text: str) -> None:
        (self.root / "harvester" / "spiders" / f"{name}.py").write_text(text)

    def source(self, name: str, *urls: str, more: str = "") -> None:
        head = "from harvester.spiders._base import Base\n\n"
        self.file(
            name, f"{head}class S(Base):\n    name = {name!r}\n    start_urls = {[*urls]}\n{more}"
        )

    def begin(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [Path(sys.executable).parent / "harvester", *arguments],
            stderr=subprocess.PIPE, text=True, **self._where,
        )  # fmt: skip

    def run(self, *arguments: str, command: str = "harvester") -> Ended:
        done = subprocess.run(
            [Path(sys.executable).parent / command, *arguments],
            capture_output=True, text=True, timeout=100, check=False, **self._where,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout, done.stderr.splitlines())

    def measured(self, *arguments: str) -> Ended:
        """A run that may hold no more than ``FILES`` files open, and its largest size in KiB."""
        status = self.root / "status"
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, status, *arguments],
            capture_output=True, text=True, timeout=300, check=False, **self._where,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES)),
        )  # fmt: skip
        [memory] = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())
        return Ended(done.returncode, done.stdout, done.stderr.splitlines(), int(memory))


def checkout(root: Path) -> Project:
    """A checkout without sources."""
    shutil.copytree(
        ROOT / "harvester",
        root / "harvester",
        ignore=shutil.ignore_patterns("spiders", "__pycache__"),
    )
    (root / "pipelines").symlink_to(ROOT / "pipelines")
    shutil.copy(ROOT / "scrapy.cfg", root)
    (root / "harvester" / "spiders").mkdir()
    project = Project(root)
    project.file("__init__", "")
    project.file("_base", BASE)
    return project


@pytest.fixture
def project(tmp_path) -> Project:
    return checkout(tmp_path / "checkout")


def settings_of_its_own(**values: object) -> str:
    return f"    custom_settings = {{**Base.custom_settings, **{values}}}\n"


# ------------------------------------------------------------------ one bad source costs the others nothing
def test_two_hundred_sources_of_which_four_are_bad(web, project) -> None:
    names = [f"s{n:03}" for n in range(200)]
    bad = [names[n] for n in (10, 70, 120, 199)]
    hanging, bombing, redirecting, broken = bad
    web.answers[f"/{hanging}/1"] = lambda handler: web.let_go.wait(200)
    web.answers[f"/{bombing}/1"] = lambda handler: handler.wfile.write(bomb("gzip"))
    web.answers[f"/{redirecting}/1"] = lambda handler: handler.reply(
        302, b"", Location=f"http://localhost:{web.port}/secret"
    )
    more = {
        hanging: settings_of_its_own(DOWNLOAD_TIMEOUT=2, RETRY_TIMES=0),
        broken: "    def read_record(self, tag):\n        return 1 / 0\n",
    }
    for n, name in enumerate(names):
        project.source(name, web.url(f"127.0.1.{n + 1}", f"/{name}/1"), more=more.get(name, ""))
    done = project.measured("crawl", "--all")
    assert done.code == 70, "a bug is the gravest"
    assert [line.split(": ")[1] for line in done.err] == bad, done.err
    for line, reason in zip(
        done.err, ("imeout", "", "refused: localhost is", "ZeroDivision"), strict=True
    ):
        assert reason in line
    rows = frame(project.output)
    assert sorted(rows["title"]) == sorted(t for n in names if n not in bad for t in titles(n))
    told = {ledger["source"]: ledger for ledger in ledgers(project.output)}
    assert sorted(told) == names
    assert [name for name in names if told[name]["course"]["failures"]] == bad
    assert all(told[name]["course"]["stops"][0]["whole"] for name in names if name not in bad)
    assert "localhost" not in web.asked
    assert web.most["all"] <= project_settings(None).getint("HARVESTER_AT_ONCE")
    assert done.memory < MEMORY
    for order in (["check"], ["archive", "check"]):
        looked = project.run(*order)
        assert (looked.code, looked.err) == (0, [])


WRONG = {
    "a_setting": ("class S(Base):\n    name = 'a_setting'\n    start_urls = ['http://127.0.0.1:9/']\n"
                  "    custom_settings = 5\n", "custom_settings is no dict: 5"),
    "an_address": ("class S(Base):\n    name = 'an_address'\n    start_urls = ['ftp://127.0.0.1/']\n",
                   "'ftp://127.0.0.1/' is no http address"),
    "careless": ("class S(Base):\n    name = 'careless'\n    start_urls = ['http://127.0.0.1:9/']\n"
                 "    custom_settings = {'ITEM_PIPELINES': {}}\n", "it lacks pipelines.item_pipeline.PublishPipeline"),
    "ends": ("\n\nraise SystemExit('enough')\n", "ends.py, line 4: SystemExit: enough"),
    "imports": ("import nosuchmodule\n", "imports.py, line 2: ModuleNotFoundError"),
    "misspelt": ("class S(Base:\n    pass\n", "misspelt.py, line 2: SyntaxError: "),
    "nameless": ("class S(Base):\n    start_urls = ['http://127.0.0.1:9/']\n", "nameless.py: it has no source"),
    "nowhere": ("class S(Base):\n    name = 'nowhere'\n", "nowhere.py: start_urls is no list of addresses"),
    "one": ("class S(Base):\n    name = 'one'\n    start_urls = 'http://127.0.0.1:9/'\n",
            "one.py: start_urls is no list of addresses"),
    "pattern": ("from harvester import ListingPattern\n\nclass S(Base):\n    name = 'pattern'\n"
                "    pattern = ListingPattern(record='li::text(2)')\n", "pattern.py, line 6: PatternError: record: "),
    "shouting": ("class S(Base):\n    name = 'Shouting News'\n    start_urls = ['http://127.0.0.1:9/']\n",
                 "shouting.py: name = 'Shouting News' must begin"),
}  # fmt: skip


def write_wrong_sources(project: Project, web: Web) -> list[str]:
    """Sources that are wrong in all ways, between two that are not; the names of the wrong ones."""
    for name, (text, _) in WRONG.items():
        project.file(name, "from harvester.spiders._base import Base\n" + text)
    for name in ("good", "well"):
        project.source(name, web.url("127.0.0.1", f"/{name}/1"))
    for host in ("127.0.0.2", "127.0.0.3"):
        project.source("twin", web.url(host, "/twin/1"))
        (project.root / "harvester/spiders/twin.py").rename(
            project.root / f"harvester/spiders/twin_{host[-1]}.py"
        )
    return [*WRONG, "twin"]


def test_files_that_hold_no_source_cost_the_others_nothing(web, project) -> None:
    wrong = write_wrong_sources(project, web)
    reasons = {**{name: reason for name, (_, reason) in WRONG.items()}, "twin": "twin_2.py and /"}
    for order, told in (
        (["crawl", "--all"], wrong),
        # What cannot be seen in the class itself shows when it is crawled.
        (["sources"], [name for name in wrong if name != "an_address"]),
        (["status"], [name for name in wrong if name != "an_address"]),
    ):
        done = project.run(*order)
        assert done.code == 78
        lines = {line.split(": ")[1]: line for line in done.err}
        assert (sorted(lines), len(done.err)) == (told, len(told)), done.err
        for name in told:
            assert reasons[name] in lines[name]
    assert sorted(frame(project.output)["title"]) == sorted(titles("good") + titles("well"))
    assert "127.0.0.2" not in web.asked and "127.0.0.3" not in web.asked, "which twin was meant?"
    listed = {
        each["name"]: each["problem"] for each in json.loads(project.run("sources", "--json").out)
    }
    assert listed["good"] is None and "SyntaxError" in listed["misspelt"]


def test_who_names_a_good_source_does_not_hear_of_the_others(web, project) -> None:
    write_wrong_sources(project, web)
    done = project.run("crawl", "good")
    assert (done.code, done.err) == (0, [])
    assert project.run("status", "good", "--max-age", "1h").err == []
    assert project.run("replay", "good").err == []
    done = project.run("crawl", "good", "misspelt")
    assert (done.code, len(done.err)) == (78, 1)
    for order in (
        ["crawl", "misspelt"], ["replay", "misspelt"], ["status", "misspelt"],
        ["peek", web.url("127.0.0.1", "/good/1"), "--source", "misspelt"],
        ["backfill", "misspelt", "--from", "http://127.0.0.1:9/"],
    ):  # fmt: skip
        done = project.run(*order)
        assert (done.code, len(done.err)) == (78, 1), order
        assert "misspelt.py, line 2: SyntaxError" in done.err[0]
    assert project.run("crawl", "nosuch").code == 64
    done = project.run("replay")
    assert (done.code, len(done.err)) == (78, len(WRONG))


def test_stock_scrapy_finds_the_good_sources_and_warns_of_the_others(web, project) -> None:
    write_wrong_sources(project, web)
    done = project.run("list", command="scrapy")
    assert {"good", "well"} <= set(done.out.split())
    assert "misspelt.py, line 2: SyntaxError" in "\n".join(done.err)
    assert project.run("crawl", "good", command="scrapy").code == 0
    assert len(frame(project.output)) == 4
    done = project.run("crawl", "misspelt", command="scrapy")
    assert done.code != 0
    assert "SyntaxError" in "\n".join(done.err)


# ------------------------------------------------------------------ together
def test_what_is_stopped_is_told_and_made_good_by_the_next_run(web, project) -> None:
    names = [f"s{n:02}" for n in range(40)]
    at_once = project_settings(None).getint("HARVESTER_AT_ONCE")
    for n, name in enumerate(names):
        project.source(name, web.url(f"127.0.1.{n + 1}", f"/{name}/1"))
        web.answers[f"/{name}/1"] = lambda handler: (
            web.let_go.wait(60), handler.reply(200, page(handler.path[1:4], 1))
        )  # fmt: skip
    process = project.begin("crawl", "--all", "--log", "log.jsonl")
    while (
        sum(path.endswith("/1") for asked in list(web.asked.values()) for _, path in asked)
        < at_once
    ):
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    time.sleep(2)
    web.let_go.set()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    told = [line.partition(": ")[2] for line in err.splitlines()]
    assert told == [
        *(f"{name}: interrupted; what was fetched is stored" for name in names[:at_once]),
        *(f"{name}: interrupted before it began" for name in names[at_once:]),
    ]
    assert len((project.root / "log.jsonl").read_text().splitlines()) == len(names)
    assert len(frame(project.output)) == 2 * at_once
    done = project.run("crawl", "--all")
    assert (done.code, done.err) == (0, [])
    assert len(frame(project.output)) == 4 * len(names)


def test_sources_of_one_host_follow_one_another(web, project) -> None:
    for name in ("one", "two", "three"):
        project.source(name, web.url("127.0.1.1", f"/{name}/1"))
    project.source("four", web.url("127.0.1.2", "/four/1"), web.url("127.0.1.1", "/five/1"))
    assert project.run("crawl", "--all").code == 0
    assert web.most["127.0.1.1"] == 1
    assert len(frame(project.output)) == 5 * 4


# ------------------------------------------------------------------ each by its own settings
def test_settings_of_one_source_are_not_those_of_another(web, project) -> None:
    """What one source sets is obeyed by it, and by no other of the same process."""
    own = {
        "impatient": {"DOWNLOAD_TIMEOUT": 1, "RETRY_TIMES": 0},
        "narrow": {"DOWNLOAD_MAXSIZE": 200},
        "known": {"HTTPAUTH_USER": "me", "HTTPAUTH_PASS": "pw", "HTTPAUTH_DOMAIN": None},
        "named": {"USER_AGENT": "Somebody else"},
        "bold": {"ROBOTSTXT_OBEY": False},
        "slow": {"DOWNLOAD_DELAY": 2, "RANDOMIZE_DOWNLOAD_DELAY": False},
        "plain": {},
    }

    def late(handler: Handler) -> None:
        """Comes when the impatient source is done."""
        web.let_go.wait(60)
        handler.reply(200, page(handler.path.split("/")[1], 1))

    for name in ("impatient", "plain"):
        web.answers[f"/{name}/1"] = late
    for n, (name, values) in enumerate(own.items(), 1):
        project.source(
            name, web.url(f"127.0.1.{n}", f"/{name}/1"), more=settings_of_its_own(**values)
        )
    process = project.begin("crawl", "--all")
    while not any((project.output / "runs").glob("*-impatient.json")):
        time.sleep(0.05)
        assert process.poll() is None
    web.let_go.set()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 69, err
    impatient, narrow = err.splitlines()
    assert "impatient" in impatient and "imeout" in impatient
    assert "narrow" in narrow and "longer than 200 bytes" in narrow
    assert sorted(set(frame(project.output)["source"])) == [
        "bold",
        "known",
        "named",
        "plain",
        "slow",
    ]
    login = web.logins.pop("/known/2")
    assert login == "Basic " + b64encode(b"me:pw").decode()
    assert [path for path, told in web.logins.items() if told] == ["/known/1"]
    for archive in (project.output / "archive" / "known").glob("*.warc.gz"):
        assert login.encode() not in gzip.decompress(archive.read_bytes())
    assert web.agents["/named/1"] == {"Somebody else"}
    assert {agent.split("/")[0] for agent in web.agents["/plain/1"]} == {"Harvester"}
    asked = {name: web.asked[f"127.0.1.{n}"] for n, name in enumerate(own, 1)}
    robots = {name: any(path == "/robots.txt" for _, path in asked[name]) for name in own}
    assert robots == {name: name != "bold" for name in own}
    times = [at for at, _ in asked["slow"]]
    assert all(after - before >= 1.9 for before, after in pairwise(times))


@pytest.fixture
def secure_web(tmp_path) -> Iterator[Web]:
    """A server with a certificate that nobody signed, and that names no host."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.1.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "certificate.pem"
    file.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    yield from serving(context)


def test_an_exception_from_checking_certificates_is_of_one_source(secure_web, project) -> None:
    for n, name in enumerate(("strict", "trusting", "wary"), 1):
        more = settings_of_its_own(DOWNLOAD_VERIFY_CERTIFICATES=name != "trusting", RETRY_TIMES=0)
        project.source(name, secure_web.url(f"127.0.1.{n}", f"/{name}/1"), more=more)
    done = project.run("crawl", "--all")
    assert done.code == 69
    assert [line.split(": ")[1:2] for line in done.err] == [["strict"], ["wary"]], done.err
    assert all("certificate" in line for line in done.err)
    assert sorted(frame(project.output)["title"]) == sorted(titles("trusting"))


def test_the_guides_settings_are_settings() -> None:
    """Each is one of Scrapy's or of ours, so that it does something."""
    guide = (ROOT / "docs" / "operator.md").read_text("utf-8")
    names = set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", guide.partition("## What one source needs")[2]))
    assert len(names) > 10
    assert not {name for name in names if name not in project_settings(None)}
