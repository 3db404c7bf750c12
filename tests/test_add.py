"""`harvester add`: from an address to a working source, in a checkout or project of the test's own."""

from __future__ import annotations

import ast
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest
from conftest import ROOT, Done, Site, a_page
from hypothesis import given
from hypothesis import strategies as st

from harvester.scaffold import literal

CORPUS = Path(os.environ.get("HARVESTER_CORPUS", "/nonexistent")) / "dev"
BIN = Path(sys.executable).parent
CACHED = shutil.ignore_patterns("__pycache__")


@dataclass
class Project:
    """A folder with sources of its own, and the commands in it."""

    root: Path
    command: Callable[..., Done]

    def harvester(self, *arguments: str | Path) -> Done:
        return self.command("harvester", *arguments, cwd=self.root, PYTHONPATH=str(self.root))

    def tests(self, **env: str) -> Done:
        """Its ``tests/test_sources.py``."""
        order = ["-p", "no:cacheprovider", "--color=no", "tests/test_sources.py"]
        env = {"PYTHONPATH": str(self.root), **env}
        return self.command("pytest", *order, cwd=self.root, **env)

    def files(self) -> dict[str, bytes]:
        paths = (p for p in self.root.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        return {str(p.relative_to(self.root)): p.read_bytes() for p in paths}

    def expected(self, name: str) -> Path:
        return self.root / "tests" / "sources" / name / "expected.json"


@pytest.fixture
def project(run, tmp_path) -> Project:
    """A checkout of Harvester, as far as its sources need one."""
    root = tmp_path / "checkout"
    for folder in ("harvester", "pipelines"):
        shutil.copytree(ROOT / folder, root / folder, ignore=CACHED)
    shutil.rmtree(root / "harvester" / "spiders")
    for folder in ("tests", "harvester/spiders"):
        (root / folder).mkdir()
    spiders = [f"harvester/spiders/{name}.py" for name in ("__init__", "amnesty_org")]
    for name in ("scrapy.cfg", "pyproject.toml", "tests/test_sources.py", *spiders):
        shutil.copy(ROOT / name, root / name)
    return Project(root, run)


@pytest.fixture
def news(site: Site) -> Site:
    """Three pages of a listing, newest first."""
    for number in (1, 2, 3):
        site.pages[f"/list/{number}"] = a_page(number)
    return site


def rows(project: Project) -> pd.DataFrame:
    return pd.read_parquet(project.root / "output" / "entries")


def review(project: Project, name: str) -> None:
    path = project.expected(name)
    text = path.read_text("utf-8")
    assert text.startswith('{\n "reviewed": false,'), "where a person sees it"
    path.write_text(text.replace('"reviewed": false', '"reviewed": true'), "utf-8")


def test_from_an_address_to_a_working_source(project, news) -> None:
    done = project.harvester("add", news.url("/list/1"), "minsk-news")
    assert (done.code, done.err) == (0, "")
    for shown in ("Entry 1-0", "3 entries", news.url("/list/2"), "record =", "minsk_news.py"):
        assert shown in done.out, shown
    assert "doubtful" not in done.out
    assert news.asked == ["/robots.txt", "/list/1"], "fetched once, as politely as a crawl"

    source = (project.root / "harvester" / "spiders" / "minsk_news.py").read_text("utf-8")
    for line in ('name = "minsk-news"', f'start_urls = ["{news.url("/list/1")}"]',
                 'language = "en"', 'timezone = "UTC"', "class MinskNews(ListingSpider)"):  # fmt: skip
        assert line in source, line
    assert "Not verified" in source
    assert "/list/2" not in source, (
        "of the next page it knows how the link looks, not where it leads"
    )
    assert project.harvester("crawl", "minsk-news").code == 0
    found = rows(project)
    assert set(found["source"]) == {"minsk-news"}
    assert sorted(found["title"]) == [f"Entry {n}-{k}" for n in (1, 2, 3) for k in range(3)]
    assert found["published"].notna().all()


def test_the_file_is_formatted_and_clean(project, site) -> None:
    long = "/it's/?q=" + "long-" * 20 + "word"
    site.pages[long] = a_page(1)
    site.pages["/2"] = a_page(1).replace('lang="en"', "")
    for number, (path, hint) in enumerate(
        [
            (long, 'title = \'h1[class="post-title"]\''),
            ("/2", "title = \"h1[class='post-title']\""),
            ("/2", r"""date = "[aria-label='Post published date'][aria-label=\"Post published date\"]" """),
        ]
    ):  # fmt: skip
        name = ("listing_spider", "exception", "plain")[number]
        assert project.harvester("add", site.url(path), name, "--hint", hint).code == 0
    listed = json.loads(project.harvester("sources", "--json").out)
    known = {each["name"]: each for each in listed}
    assert known["listing_spider"]["pattern"]["title"] == 'h1[class="post-title"]'
    assert known["exception"]["pattern"]["title"] == "h1[class='post-title']"
    assert known["exception"]["language"] is None
    for order in (["ruff", "format", "--check", "."], ["ruff", "check", "."], ["mypy"]):
        done = subprocess.run(
            [BIN / order[0], *order[1:]],
            cwd=project.root, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout


@given(st.text() | st.text("'\"\\\n\u202eaü😀"))
def test_any_text_is_a_literal_that_says_it(text) -> None:
    written = literal(text)
    assert ast.literal_eval(written) == text
    assert written.isprintable()
    escaped = text.count(written[0])
    assert escaped <= min(text.count("'"), text.count('"')), "the quotes that need fewer escapes"


# ------------------------------------------------------------------ until a person has looked
def test_unreviewed_entries_fail_the_tests_and_reviewed_ones_pass(project, news) -> None:
    # A label of the server's alone says how to read the page again.
    cyrillic = (200, {"Content-Type": "text/html; charset=windows-1251"},
                a_page(1).replace("Entry", "Заява").replace('<meta charset="utf-8">', "").encode("cp1251"))  # fmt: skip
    news.pages["/be"] = cyrillic
    for path, name in (("/list/1", "news"), ("/be", "zajavy")):
        assert project.harvester("add", news.url(path), name).code == 0
    assert (project.expected("zajavy").parent / "page.html").read_bytes() == cyrillic[2]
    told = json.loads(project.expected("zajavy").read_text("utf-8"))
    assert [entry["title"] for entry in told["entries"]] == [f"Заява 1-{n}" for n in range(3)]
    assert told["next_url"] == news.url("/list/2")

    done = project.tests()
    assert done.code == 1
    for name in ("news", "zajavy"):
        folder = project.expected(name).parent
        assert f"not reviewed: read {folder / 'page.html'}" in done.out
    review(project, "news")
    review(project, "zajavy")
    done = project.tests()
    assert (done.code, "2 passed" in done.out) == (0, True)


def test_what_is_read_otherwise_or_damaged_fails_with_what_to_do(project, news) -> None:
    assert project.harvester("add", news.url("/list/1"), "news").code == 0
    review(project, "news")
    source = (project.root / "harvester" / "spiders" / "news.py").read_text("utf-8")
    folder = project.expected("news").parent
    good, body = (folder / "expected.json").read_bytes(), (folder / "page.html").read_bytes()
    told = json.loads(good)

    def but(**values: object) -> bytes:
        return json.dumps({**told, **values}).encode()

    half = json.dumps({name: value for name, value in told.items() if name != "entries"})
    cases = {  # name -> expected.json, page.html, what is said
        "title": (good.replace(b"Entry 1-1", b"Entry one"), body,
                  "entry 2, title: expected 'Entry one', read 'Entry 1-1'"),
        "next": (but(next_url=None), body, "next_url: expected None, read 'http"),
        "fewer": (but(entries=told["entries"][:2]), body, "2 entries expected, 3 read"),
        "field": (but(entries=[{**e, "more": None} for e in told["entries"]]), body, "entry 1, more"),
        "yes": (but(reviewed="yes"), body, "not reviewed"),
        "half": (half.encode(), body, "has no 'entries'"),
        "list": (b"[]", body, "not the form"),
        "strange": (but(page={**told["page"], "fetched_at": "today"}), body, "not the form"),
        "torn": (good[:200], body, "not JSON"),
        "bytes": (b"\xff", body, "not JSON"),
        "gone": (None, body, "expected.json: No such file"),
        "pageless": (good, None, "page.html: No such file"),
        "short": (good, body[:-9], "not the page that was recorded"),
    }  # fmt: skip
    for name, (expected, page, _) in cases.items():
        spider = project.root / "harvester" / "spiders" / f"{name}.py"
        spider.write_text(source.replace('"news"', f'"{name}"'), "utf-8")
        (folder.parent / name).mkdir()
        for file, content in (("expected.json", expected), ("page.html", page)):
            if content is not None:
                (folder.parent / name / file).write_bytes(content)
    (folder.parent / "nobody").mkdir()
    done = project.tests()
    failures = dict(re.findall(r"^_+ \S+\[(\w+)\] _+\n((?:(?!___).*\n)+)", done.out, re.MULTILINE))
    assert failures.keys() == {*cases, "nobody"}
    for name, (_, _, message) in cases.items():
        assert message in failures[name], name
    assert "there is no source 'nobody'" in failures["nobody"]
    assert "Traceback" not in done.out


def test_a_changed_source_is_expected_anew_and_reviewed_again(project, news) -> None:
    assert project.harvester("add", news.url("/list/1"), "news").code == 0
    review(project, "news")
    source = project.root / "harvester" / "spiders" / "news.py"
    text = source.read_text("utf-8")
    [line] = [line for line in text.splitlines() if "teaser=" in line]
    source.write_text(text.replace(line + "\n", ""), "utf-8")
    assert "teaser: expected" in project.tests().out
    assert "not reviewed" in project.tests(HARVESTER_EXPECT="again").out
    assert all(
        e["teaser"] is None for e in json.loads(project.expected("news").read_text())["entries"]
    )
    review(project, "news")
    assert project.tests().code == 0


# ------------------------------------------------------------------ what it says of the page
def test_language_and_time_zone_are_the_pages_or_the_persons(project, site) -> None:
    stamp = '<time datetime="2011-07-2{}T10:00:00{}"></time>'
    for path, stamps in (("/one", ("+03:00", "+00:00")), ("/two", ("+01:00", "+02:00"))):
        told = "".join(stamp.format(day, offset) for day, offset in enumerate(stamps))
        site.pages[path] = a_page(1).replace("<main>", "<main>" + told).replace('"en"', '"de_AT"')
    site.pages["/half"] = a_page(1).replace("<main>", "<main>" + stamp.format(1, "+05:30"))

    def said(path: str, *more: str) -> str:
        name = f"s{len(list((project.root / 'harvester' / 'spiders').glob('s*.py')))}"
        done = project.harvester("add", site.url(path), name, *more)
        assert done.code == 0
        assert ("set the time zone in" in done.out) == ("--timezone" not in more)
        return (project.root / "harvester" / "spiders" / f"{name}.py").read_text("utf-8")

    source = said("/one")
    assert 'language = "de-AT"' in source
    assert '# The page\'s dates say +03:00; ' in source  # fmt: skip
    assert 'timezone = "Etc/GMT-3"' in source
    source = said("/two")
    assert "# The page's dates say +01:00 and +02:00; " in source
    assert 'timezone = "UTC"' in source
    assert 'timezone = "UTC"' in said("/half")
    source = said("/one", "--timezone", "Europe/Minsk", "--language", "be")
    assert 'language = "be"\n    timezone = "Europe/Minsk"\n' in source


def test_a_doubtful_page_is_said_to_be_one(project, site) -> None:
    site.pages["/"] = a_page(1)
    done = project.harvester("add", site.url("/"), "news", "--hint", 'teaser = ".nowhere"')
    assert done.code == 0
    assert "doubtful: learning is not sure of this page, confidence 0.00" in done.out
    classes = " ".join(f"word-{n}" for n in range(6))
    site.pages["/many"] = a_page(1).replace("post--result", classes)
    hint = f'record = "article.{classes.replace(" ", ".")}"'
    done = project.harvester("add", site.url("/many"), "many", "--hint", hint)
    assert done.code == 0
    assert "may fit this page alone" in done.out


def test_a_page_that_has_moved_for_good_is_asked_for_where_it_is(project, news) -> None:
    news.pages["/old"] = (301, {"Location": "/newer"}, b"")
    news.pages["/newer"] = (308, {"Location": "/list/1#top"}, b"")
    news.pages["/latest"] = (302, {"Location": "/list/1"}, b"")
    news.pages["/mixed"] = (301, {"Location": "/latest"}, b"")
    for path, written in (("/old#x", "/list/1"), ("/latest", "/latest"), ("/mixed", "/latest")):
        name = path.strip("/").partition("#")[0]
        done = project.harvester("add", news.url(path), name)
        assert done.code == 0
        assert f"start address: {news.url(written)}" in done.out
        source = (project.root / "harvester" / "spiders" / f"{name}.py").read_text("utf-8")
        assert f'start_urls = ["{news.url(written)}"]' in source
        assert project.harvester("crawl", name).code == 0
        told = json.loads(project.expected(name).read_text("utf-8"))
        assert told["page"]["url"] == news.url("/list/1")


# ------------------------------------------------------------------ what it refuses
@pytest.mark.parametrize(
    "arguments",
    [
        ["URL"], ["ftp://127.0.0.1/", "a"], ["page.html", "a"], ["http://u:p@127.0.0.1/", "a"],
        ["http://[", "a"], ["URL", "A"], ["URL", "1a"], ["URL", "../a"], ["URL", "a.b"], ["URL", "a" * 65],
        ["URL", ""], ["URL", "class"], ["URL", "con"], ["URL", "json"], ["URL", "scrapy"],
        ["URL", "amnesty_org"], ["URL", "amnesty-org"], ["URL", "a", "--language", "English!"],
        ["URL", "a", "--timezone", "Minsk"], ["URL", "a", "--hint", "title"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_is_refused_before_anything_is_fetched(project, news, arguments) -> None:
    before = project.files()
    order = [news.url("/list/1") if each == "URL" else each for each in arguments]
    done = project.harvester("add", *order)
    assert (done.code, done.out, done.err.count("\n")) == (64, "", 1)
    assert "u:p" not in done.err
    assert news.asked == []
    assert project.files() == before


def test_nothing_is_overwritten_and_a_name_is_taken_once(project, news) -> None:
    assert project.harvester("add", news.url("/list/1"), "a-b").code == 0
    news.asked.clear()
    before = project.files()
    for name in ("a-b", "a_b"):
        done = project.harvester("add", news.url("/list/2"), name)
        assert done.code == 64
        assert "already" in done.err
    (project.root / "harvester" / "spiders" / "a_b.py").unlink()
    done = project.harvester("add", news.url("/list/2"), "a-b")
    assert (done.code, "exists already" in done.err) == (64, True)
    (project.root / "harvester" / "spiders" / "c").mkdir()
    assert project.harvester("add", news.url("/list/2"), "c").code == 64
    assert news.asked == []
    assert {**project.files(), "harvester/spiders/a_b.py": b""}.keys() == before.keys()


def test_all_files_are_written_or_none(project, news) -> None:
    recorded = project.root / "tests" / "sources"
    recorded.write_text("in the way")
    before = project.files()
    done = project.harvester("add", news.url("/list/1"), "news")
    assert (done.code, done.err.count("\n")) == (73, 1)
    assert project.files() == before
    recorded.unlink()

    # A disk that is full at the first file, and at the last.
    hint = f'title = "h1{", h1" * 1000}"'
    order = ["add", news.url("/list/1"), "news", "--hint", hint]
    assert project.harvester(*order).code == 0
    page = project.expected("news").with_name("page.html").stat().st_size
    spider = project.root / "harvester" / "spiders" / "news.py"
    source = spider.stat().st_size
    assert source > page + project.expected("news").stat().st_size
    spider.unlink()
    shutil.rmtree(recorded)
    for size in (page, source):
        done = subprocess.run(
            [BIN / "harvester", *order],
            cwd=project.root,
            env={**os.environ, "PYTHONPATH": str(project.root), "PYTHONDONTWRITEBYTECODE": "1"},
            preexec_fn=lambda size=size: resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1,) * 2),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, "File too large; nothing was written" in done.stderr) == (73, True)
        assert project.files() == {k: v for k, v in before.items() if k != "tests/sources"}
        assert not recorded.exists()


def test_what_is_no_listing_makes_no_source(project, site) -> None:
    site.pages["/login"] = "<html><body>Please log in</body></html>"
    before = project.files()
    for path, reason in (("/login", "no listing"), ("/gone", "/gone")):
        done = project.harvester("add", site.url(path), "news")
        assert (done.code, done.err.count("\n"), reason in done.err) == (69, 1, True)
    assert project.files() == before


# ------------------------------------------------------------------ where sources lie
@pytest.fixture
def own(run, tmp_path) -> Project:
    """A Scrapy project of a user's own, whose settings are made of Harvester's."""
    root = tmp_path / "own"
    (root / "mine" / "sources").mkdir(parents=True)
    (root / "deep" / "folder").mkdir(parents=True)
    (root / "scrapy.cfg").write_text("[settings]\ndefault = mine.settings\n")
    (root / "mine" / "settings.py").write_text(
        "from harvester.settings import *\n"
        'SPIDER_MODULES = ["mine.sources"]\nNEWSPIDER_MODULE = "mine.sources"\n'
    )
    for package in ("mine", "mine/sources"):
        (root / package / "__init__.py").touch()

    def command(*arguments: str | Path, cwd: Path, PYTHONPATH: str = "", **env: str) -> Done:
        return run(*arguments, cwd=cwd, PYTHONPATH=str(ROOT), **env)

    return Project(root, command)


def test_a_project_of_ones_own_gets_its_own_sources(own, news, run) -> None:
    ours = sorted((ROOT / "harvester" / "spiders").glob("*.py"))
    deep = own.root / "deep" / "folder"
    done = run("harvester", "add", news.url("/list/1"), "news", cwd=deep, PYTHONPATH=str(ROOT))
    assert (done.code, done.err) == (0, "")
    assert (own.root / "mine" / "sources" / "news.py").is_file()
    assert own.expected("news").is_file()
    assert sorted((ROOT / "harvester" / "spiders").glob("*.py")) == ours
    assert own.harvester("crawl", "news").code == 0
    assert len(rows(own)) == 9
    assert run("scrapy", "list", cwd=own.root, PYTHONPATH=str(ROOT)).out.split() == ["news"]
    shutil.copy(ROOT / "tests" / "test_sources.py", own.root / "tests")
    assert "not reviewed" in own.tests().out
    review(own, "news")
    assert own.tests().code == 0


def test_a_project_that_cannot_take_a_source_says_so(own, news, run, tmp_path) -> None:
    settings = own.root / "mine" / "settings.py"
    good = settings.read_text()
    for wrong in (
        good.replace('NEWSPIDER_MODULE = "mine.sources"', 'NEWSPIDER_MODULE = "mine.elsewhere"'),
        good.replace("sources", "settings"),
        good + "import nosuch\n",
    ):
        settings.write_text(wrong)
        done = own.harvester("add", news.url("/list/1"), "news")
        assert (done.code, done.err.count("\n")) == (78, 1), done
    assert news.asked == []

    # Elsewhere a project that is not made of Harvester's settings changes nothing.
    settings.write_text("BOT_NAME = 'mine'\n")
    assert "amnesty_org" in own.harvester("sources").out

    # Installed, Harvester has no folder for sources, even inside a project.
    lib = own.root / "lib" / "site-packages"
    for package in ("harvester", "pipelines"):
        shutil.copytree(ROOT / package, lib / package, ignore=CACHED)
    done = run("harvester", "add", news.url("/list/1"), "news", PYTHONPATH=str(lib))
    assert (done.code, "a project of your own" in done.err) == (78, True)


# ------------------------------------------------------------------ pages that nobody here wrote
def chosen() -> list[str]:
    """Ten annotated pages: by name, the first of each language that is on a site of its own."""
    found: dict[str, str] = {}  # language -> page
    hosts: set[str] = set()
    for path in sorted((CORPUS / "truth").glob("*.json")):
        truth = json.loads(path.read_text("utf-8"))
        host = urlsplit(truth["page_url"]).hostname
        if truth["entries"] and truth["language"] not in found and host not in hosts:
            found[truth["language"]] = path.stem
            hosts.add(host)
    return list(found.values())[:10]


@pytest.mark.skipif(not CORPUS.is_dir(), reason="HARVESTER_CORPUS names no corpus")
def test_ten_real_pages_become_working_sources_without_editing(project, site) -> None:
    pages = chosen()
    assert len(pages) == 10
    for number, page in enumerate(pages):
        truth = json.loads((CORPUS / "truth" / f"{page}.json").read_text("utf-8"))
        parts = urlsplit(truth["page_url"])
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        body = (CORPUS / "pages" / f"{page}.html").read_bytes()
        site.pages[path] = (200, {"Content-Type": "text/html"}, body)
        name = f"page_{number}"
        done = project.harvester("add", site.url(path), name)
        assert (done.code, done.err) == (0, ""), page
        # What follows is at the site, not here.
        done = project.harvester("crawl", name, "--max-pages", "1")
        assert (done.code, done.err) == (0, ""), page
        stored = rows(project)
        titles = set(stored[stored["source"] == name]["title"].map(fold))
        wanted = {
            fold(e["title"]) for e in truth["entries"] if e["title"] and not e.get("optional")
        }
        assert wanted <= titles, page
        review(project, name)
    done = project.tests()
    assert (done.code, "10 passed" in done.out) == (0, True)


def fold(text: str) -> str:
    return " ".join(text.split())
