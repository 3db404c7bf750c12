"""The documents say what is there."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from harvester.crawl import project_settings, sources
from pipelines import contract
from pipelines.entry import COLUMNS, PARTITION, VERSION_COLUMNS
from pipelines.version import VERSION

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def options(run, *command: str) -> set[str]:
    return set(re.findall(r"--[a-z][a-z-]+", run("harvester", *command, "--help").out))


def commands(run, *group: str) -> list[str]:
    listed = run("harvester", *group, "--help").out.partition("Commands:")[2]
    return re.findall(r"^  ([a-z]+)  ", listed, re.MULTILINE)


def test_every_command_and_option_stands_in_the_readme(run) -> None:
    every = [(name,) for name in commands(run) if name != "archive"]
    every += [("archive", name) for name in commands(run, "archive")]
    assert len(every) > 11
    for command in every:
        [line] = re.findall(rf"^\| `{' '.join(command)}\b.*$", README, re.MULTILINE)
        missing = {o for o in options(run, *command) if o not in line and not o.startswith("--no-")}
        assert missing <= {"--help", "--output", "--json", "--verbose"}, command


def test_contract_and_dictionary_are_made_from_the_columns() -> None:
    again = "is out of date: run `python -m pipelines.contract`"
    assert contract.CONTRACT.read_text("utf-8") == contract.contract(), again
    dictionary = (ROOT / "output" / "README.md").read_text("utf-8")
    assert contract.dictionary(dictionary) == dictionary, again
    assert dictionary.count("\n| ") == len(COLUMNS) + len(VERSION_COLUMNS) + 4
    for column in (*COLUMNS, PARTITION):
        assert f"`{column.name}`" in README


def test_every_dependency_is_justified() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    groups = PROJECT["dependency-groups"]
    for wanted in (*PROJECT["project"]["dependencies"], *groups["dev"], *groups["build"]):
        name = re.match(r"[\w-]+", wanted)[0]
        assert re.search(rf"\b{name}\b", text), name


def test_the_locks_carry_hashes_and_no_addresses() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text("utf-8")
        assert "://" not in text
        assert "index-url" not in text
        for block in re.split(r"\n(?=[a-z])", text.partition("\n\n")[2] or text)[1:]:
            assert "--hash=sha256:" in block, block[:80]


def test_the_version_is_in_the_changelog() -> None:
    assert f"## {VERSION}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_every_source_says_what_was_verified() -> None:
    for name, cls in sources(project_settings(None)).items():
        path = ROOT / "harvester" / "spiders" / f"{name.replace('-', '_')}.py"
        module = path.read_text("utf-8")
        assert re.search(r"verified|assumed", module, re.IGNORECASE), name
        assert cls.start_urls
        assert cls.__doc__


def test_the_readme_example_does_what_it_says() -> None:
    code = next(
        c for c in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "read_listing" in c
    )
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["listing"].to_dict()["entries"][0] == {
        "title": "A title", "url": "https://example.org/a", "date": "2011-07-11",
        "teaser": None, "kind": None,
    }  # fmt: skip


# ------------------------------------------------------------------ the commands that only look
def test_sources(run) -> None:
    done = run("harvester", "sources")
    assert done.code == 0
    assert "amnesty_usa" in done.out
    listed = json.loads(run("harvester", "sources", "--json").out)
    assert {"amnesty_org", "amnesty_usa", "belhelcom"} <= {s["name"] for s in listed}


def test_peek(run, site, tmp_path) -> None:
    from conftest import a_page

    site.pages["/list/1"] = a_page(1)
    done = run("harvester", "peek", site.url("/list/1"), "--source", "amnesty_org")
    assert done.code == 0
    assert "Entry 1-0" in done.out
    assert 'record = "article.post"' in done.out
    assert list(tmp_path.iterdir()) == [], "nothing is stored"

    (tmp_path / "page.html").write_text(a_page(2), "utf-8")
    done = run("harvester", "peek", "page.html", "--url", "https://www.amnesty.org/en/x/", "--json")
    told = json.loads(done.out)
    assert told["entries"][0] == {
        "title": "Entry 2-0", "url": "https://www.amnesty.org/news/entry-2-0/", "date": "2011-07-22",
        "teaser": "What entry 2-0 has to say", "kind": "News",
    }  # fmt: skip
    assert told["next_url"] == "https://www.amnesty.org/list/3"

    site.pages["/login"] = "<html><body>Please log in</body></html>"
    done = run("harvester", "peek", site.url("/login"))
    assert (done.code, done.err.count("\n")) == (69, 1)
    assert run("harvester", "peek", site.url("/gone")).code == 69


def test_text_from_a_page_cannot_steer_a_terminal(run, tmp_path) -> None:
    page = (
        "<article class='post'><h1 class='post-title'>\x1b[2J\x1b]0;x\x07Title\u202e</h1></article>"
    )
    (tmp_path / "page.html").write_text(page, "utf-8")
    done = run("harvester", "peek", "page.html", "--source", "amnesty_org")
    assert "Title" in done.out
    assert not set("\x1b\x07\u202e") & set(done.out)


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["nosuch"], ["crawl"], ["crawl", "nosuch"], ["crawl", "belhelcom", "--nosuch"],
        ["crawl", "belhelcom", "--since", "2011-02-31"], ["crawl", "belhelcom", "--max-pages", "0"],
        ["crawl", "belhelcom", "--start-url", "file:///etc/passwd"],
        ["crawl", "belhelcom", "--start-url", "http://["],
        ["crawl", "belhelcom", "--start-url", "http://h:99999/"],
        ["crawl", "belhelcom", "--since", "2012-01-01", "--until", "2011-01-01"],
        ["crawl", "belhelcom", "amnesty_org", "--start-url", "http://127.0.0.1/"],
        ["replay", "belhelcom"], ["replay", "--warc", "nosuch.warc.gz"], ["peek", "nosuch.html"],
        ["peek", "http://127.0.0.1/", "--source", "nosuch"], ["replay", "belhelcom", "--run", "../../x"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_ends_with_64_and_one_line(run, tmp_path, arguments) -> None:
    done = run("harvester", *arguments)
    assert done.code == 64
    assert (done.out, done.err.count("\n")) == ("", 1)
    assert done.err.startswith("harvester: ")
    assert list(tmp_path.iterdir()) == []
