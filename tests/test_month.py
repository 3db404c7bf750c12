"""A month of hourly runs over a site that lives: the data set is its history, alarms are the planned ones.

The site publishes, edits, withdraws, is down for some hours, hides behind a consent wall twice and gets
a new look.  Every run is the command, in a process of its own, at its hour by a simulated clock
(`hourly.py`); the site is a server on loopback, which forgets nothing that it has shown.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from pipelines.dataset import Dataset

SOURCE = "belhelcom"  # it has no pattern: its listing is learned
ZONE = ZoneInfo("Europe/Minsk")
START = datetime(2011, 7, 1, 0, 17, tzinfo=UTC)
HOURS = 30 * 24
HOUR = timedelta(hours=1)
A_PAGE = 10

# What happens, in hours of the month.
BUSY = range(6 * 24 + 8, 6 * 24 + 11)  # the site answers 503,
DOWN = range(6 * 24 + 11, 6 * 24 + 15)  # and then not at all
WALLS = (range(11 * 24 + 9, 11 * 24 + 13), range(22 * 24 + 14, 22 * 24 + 16))
QUIET = range(8 * 24 + 19, 9 * 24 + 3)  # a night in which nothing happens
NEW_LOOK = 15 * 24 + 10
DEEP = 7 * 24 + 1  # something happens deep in the list,
WHOLE = range(2 * 24 + 3, HOURS, 7 * 24)  # where Sunday nights look: `crawl --full`
ALARMS = {*BUSY, *DOWN, *WALLS[0], *WALLS[1]}

WHO = ["Court", "Prosecutor", "Union", "Mayor", "Observer", "Parliament", "Ministry", "Student"]
DID = ["rejects", "praises", "postpones", "questions", "welcomes", "publishes", "forbids", "opens"]
WHAT = ["appeal", "strike", "budget", "report", "festival", "amnesty", "inquiry", "election"]
WHERE = ["Minsk", "Hrodna", "Brest", "Vitsebsk", "Homel", "Mahilyow", "Pinsk", "Orsha"]


@dataclass
class Item:
    """An entry of the site; ``relative``: its date is printed as an age for a day."""

    number: int
    at: datetime
    title: str
    teaser: str
    relative: bool = False

    @property
    def address(self) -> str:
        return f"/news/{self.number}-{self.at:%m-%d}"

    def date(self, now: datetime) -> str:
        minutes = int((now - self.at).total_seconds() // 60)
        if self.relative and minutes < 24 * 60:
            return f"{minutes // 60} hours ago" if minutes >= 120 else f"{minutes} minutes ago"
        return f"{self.at.astimezone(ZONE):%-d %B %Y}"


@dataclass
class Known:
    """What runs have been shown of an entry: the hours, and each version with its first hour."""

    first: int
    last: int
    versions: list[tuple[int, str, str]]
    missing: int | None = None


@dataclass
class Town:
    """The site: what it lists now, newest first, and everything that it has shown to a run."""

    chance: Random
    hour: int = 0
    items: list[Item] = field(default_factory=list)
    withdrawn: dict[int, tuple[int, Item]] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)
    history: dict[int, Known] = field(default_factory=dict)
    made: int = 0

    @property
    def now(self) -> datetime:
        return START + self.hour * HOUR

    # -------------------------------------------------------------- its life
    def publish(self, at: datetime, *, relative: bool = False) -> Item:
        self.made += 1
        pick = self.chance.choice
        place, what = pick(WHERE), pick(WHAT)
        item = Item(
            number=self.made,
            at=at,
            title=f"{pick(WHO)} {pick(DID)} the {place} {what} no. {self.made}",
            teaser=f"In {place} {pick(WHO).lower()} and {pick(WHO).lower()} spoke about the {what} "
            f"for {self.made + 2} hours; {pick(WHO).lower()} {pick(DID)} what was said.",
            relative=relative,
        )
        self.items.insert(0, item)
        return item

    def live(self) -> None:
        """What happens in the hour before a run."""
        local = self.now.astimezone(ZONE)
        weekday = local.weekday() < 5
        if 7 <= local.hour <= 21 and self.chance.random() < (0.4 if weekday else 0.15):
            for _ in range(self.chance.choice([1, 1, 1, 2, 3])):
                self.publish(self.now - timedelta(minutes=self.chance.randint(3, 10)))
        if self.hour in (3 * 24 + 9, 19 * 24 + 12):
            self.publish(self.now - timedelta(minutes=12), relative=True)
        if self.hour in range(30, HOURS, 67):
            item = self.items[self.chance.randrange(4)]
            item.title = f"{item.title}, says {self.chance.choice(WHERE)}"
        if self.hour in range(43, HOURS, 71):
            item = self.items[self.chance.randrange(4)]
            item.teaser = f"Corrected on day {self.hour // 24}. {item.teaser}"
        if self.hour in {*range(57, HOURS, 101), BUSY[1]}:
            self.withdraw(self.chance.randrange(2))
        if self.hour == DEEP:
            self.items[23].title += " (corrected)"
            self.withdraw(17)
        for number, (hour, item) in list(self.withdrawn.items()):
            if number % 3 == 0 and self.hour == hour + 30:  # some come back
                del self.withdrawn[number]
                self.items.append(item)
                self.items.sort(key=lambda each: (each.at, each.number), reverse=True)

    def withdraw(self, place: int) -> None:
        """Take back the entry in this place, or the next one that some run has seen."""
        item = next(item for item in self.items[place:] if item.number in self.history)
        self.items.remove(item)
        self.withdrawn[item.number] = (self.hour, item)

    # -------------------------------------------------------------- what it says
    def page(self, number: int) -> list[Item]:
        return self.items[A_PAGE * (number - 1) : A_PAGE * number]

    def answer(self, path: str) -> tuple[int, str]:
        if self.hour in BUSY:
            return 503, "<h1>Too busy</h1>"
        if path == "/robots.txt":
            return 200, "User-agent: *\nDisallow: /admin/\n"
        if any(self.hour in wall for wall in WALLS):
            return 200, consent()
        front, _, number = path.partition("?page=")
        shown = self.page(int(number or 1)) if front == "/news" else []
        if not shown:
            return 404, "<h1>Not found</h1>"
        look = new_look if self.hour >= NEW_LOOK else old_look
        more = len(self.items) > A_PAGE * int(number or 1)
        return 200, look(shown, self.now, int(number or 1) + 1 if more else None)

    # -------------------------------------------------------------- what it knows of a run
    def remember(self) -> list[int]:
        """Note what the run of this hour was shown; gives the numbers of the pages."""
        paths = [path for path, _ in self.asked if path.startswith("/news")]
        pages = [int(path.partition("?page=")[2] or 1) for path in paths]
        if self.hour in ALARMS:
            return pages
        shown = [item for page in pages for item in self.page(page)]
        for item in shown:
            known = self.history.setdefault(item.number, Known(self.hour, self.hour, []))
            known.last, known.missing = self.hour, None
            version = (item.title, item.teaser)
            if not known.versions or known.versions[-1][1:] != version:
                known.versions.append((self.hour, *version))
        oldest = shown[-1].at.astimezone(ZONE).date()
        for number, (_, item) in self.withdrawn.items():
            known_of = self.history.get(number)
            if known_of and known_of.missing is None and item.at.astimezone(ZONE).date() > oldest:
                known_of.missing = self.hour
        return pages


def consent() -> str:
    return (
        "<html lang=en><head><title>Before you continue</title></head><body><form method=post>"
        "<h1>We value your privacy</h1><p>We and our 842 partners store cookies on your device.</p>"
        "<button>Accept all</button><button>Reject all</button></form></body></html>"
    )


def old_look(items: list[Item], now: datetime, following: int | None) -> str:
    cards = "".join(
        f'<div class="views-row"><h3 class="title"><a href="{i.address}">{escape(i.title)}</a></h3>'
        f'<div class="body">{escape(i.teaser)}</div><span class="date">{i.date(now)}</span></div>\n'
        for i in items
    )
    pager = f'<a class="next" href="/news?page={following}">next ›</a>' if following else ""
    return (
        "<!DOCTYPE html><html lang=en><head><title>News</title></head><body>"
        '<ul id="menu"><li><a href="/">Home</a></li><li><a href="/about">About us</a></li></ul>'
        f'<div id="content"><h1>News</h1>{cards}<div class="pager">{pager}</div></div>'
        '<div id="footer">All rights reserved</div></body></html>'
    )


def new_look(items: list[Item], now: datetime, following: int | None) -> str:
    cards = "".join(
        f'<li class="c-card"><time class="c-card__time">{i.date(now)}</time><div class="c-card__box">'
        f'<a class="c-card__link" href="{i.address}"><strong>{escape(i.title)}</strong></a>'
        f'<p class="c-card__text">{escape(i.teaser)}</p></div></li>\n'
        for i in items
    )
    pager = f'<a rel="next" href="/news?page={following}">Next page</a>' if following else ""
    return (
        "<!DOCTYPE html><html lang=en><head><title>News</title></head><body>"
        '<header><nav><a href="/">Home</a> <a href="/about">About us</a></nav></header>'
        f'<main><h1>News</h1><ul class="c-list">{cards}</ul><nav class="c-pager">{pager}</nav></main>'
        "<footer>All rights reserved</footer></body></html>"
    )


class Server:
    """The site's address, which answers as the site does; it can be left without a listener."""

    def __init__(self, town: Town) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, text = town.answer(self.path)
                body = text.encode()
                tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
                if status == 200 and self.headers["If-None-Match"] == tag:
                    status, body = 304, b""
                town.asked.append((self.path, status))
                self.send_response(status)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("ETag", tag)
                if status != 304:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._handler = Handler
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self.listen()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def listen(self) -> None:
        if self._server is None:
            self._server = ThreadingHTTPServer(("127.0.0.1", self._port), self._handler)
            self._port = self._server.server_address[1]
            Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@contextmanager
def commands(cwd: Path) -> Iterator[Any]:
    """``harvester`` at a moment: a function of the moment and the arguments."""
    script = Path(__file__).with_name("hourly.py")
    with subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=cwd
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def harvester(at: datetime, *arguments: str | Path) -> dict[str, Any]:
            order = {"at": at.isoformat(), "arguments": [*map(str, arguments)]}
            print(json.dumps(order), file=process.stdin, flush=True)
            return json.loads(process.stdout.readline())  # type: ignore[union-attr]

        yield harvester
        process.stdin.close()


@dataclass
class Month:
    """The month as it was lived: the site at its end, and what came of each run."""

    town: Town
    address: str
    output: Path
    runs: list[dict[str, Any]]


def lived(folder: Path) -> Month:
    """A month in a folder."""
    town = Town(Random(7))
    for n in range(63, 0, -1):
        town.publish(START - timedelta(hours=8 * n + 1))
    server = Server(town)
    runs = []
    with commands(folder) as harvester:
        for hour in range(HOURS):
            town.hour = hour
            town.live()
            town.asked.clear()
            server.close() if hour in DOWN else server.listen()
            full = ["--full"] if hour in WHOLE else []
            start = ["--start-url", f"{server.address}/news", "--output", folder / "o"]
            done = harvester(town.now, "crawl", SOURCE, *start, *full)
            pages = town.remember()
            runs.append({**done, "hour": hour, "asked": list(town.asked), "pages": pages})
    server.close()
    return Month(town, server.address, folder / "o", runs)


def hour_of(moment: Any) -> int | None:
    """The run that a moment belongs to."""
    return None if pd.isna(moment) else int((moment.to_pydatetime() - START) / HOUR)


def alarms_are_the_planned_ones(month: Month) -> None:
    for run in month.runs:
        expected = 69 if run["hour"] in ALARMS else 0
        assert (run["hour"], run["code"], run["out"]) == (run["hour"], expected, ""), run["err"]
        lines = run["err"].splitlines()
        assert len(lines) == (1 if expected else 0), run
        assert all(
            line.startswith(f"harvester: {SOURCE}: {month.address}/news: ") for line in lines
        )
    said = {run["hour"]: run["err"] for run in month.runs}
    assert "HTTP 503" in said[BUSY[0]]
    assert "refused" in said[DOWN[0]].lower()
    assert "no entries" in said[WALLS[0][0]]


def a_quiet_hour_costs_one_page(month: Month) -> None:
    quiet = 0
    for run in month.runs[1:]:
        if run["code"] or run["hour"] in WHOLE:
            continue
        assert run["asked"][0][0] == "/robots.txt"
        assert run["pages"] == [1], "what is new stands on the first page"
        quiet += run["asked"][1:] == [("/news", 304)]
    assert quiet > HOURS / 2
    night = [run["asked"] for run in month.runs if run["hour"] in QUIET]
    assert night == [[("/robots.txt", 304), ("/news", 304)]] * len(QUIET)


def rows_are_the_history_of_the_site(month: Month) -> None:
    rows = pd.read_parquet(month.output / "entries")
    rows = rows.assign(number=rows["url"].str.extract(r"/news/(\d+)-")[0].astype(int))
    told = {
        row["number"]: (
            row["title"],
            row["teaser"],
            row["published"].date(),
            row["published_precision"],
            row["revision"],
            hour_of(row["first_seen"]),
            hour_of(row["last_seen"]),
            hour_of(row["missing_since"]),
            row["repeats"],
            len(row["urls"]),
        )
        for _, row in rows.iterrows()
    }
    assert len(told) == len(rows), "an entry has two rows"
    gone = {number: item for number, (_, item) in month.town.withdrawn.items()}
    items = gone | {item.number: item for item in month.town.items}
    true = {
        number: (
            known.versions[-1][1],
            known.versions[-1][2],
            items[number].at.astimezone(ZONE).date(),
            "day",
            len(known.versions),
            known.first,
            known.last,
            known.missing,
            1,
            1,
        )
        for number, known in month.town.history.items()
    }
    assert told == true
    assert true.keys() == items.keys()


def withdrawals_are_seen_within_the_hour(month: Month) -> None:
    """Deep in the list, within the week."""
    good = [run["hour"] for run in month.runs if not run["code"]]
    assert len(month.town.withdrawn) > 4
    for number, (hour, _) in month.town.withdrawn.items():
        seen = WHOLE[1] if hour == DEEP else min(h for h in good if h >= hour)
        assert month.town.history[number].missing == seen


def versions_are_the_history_of_the_site(month: Month) -> None:
    rows = pd.read_parquet(month.output / "entries").set_index("entry_id")["url"]
    versions = pd.read_parquet(month.output / "revisions").sort_values(["entry_id", "revision"])
    told: dict[int, list[Any]] = {}
    for _, version in versions.iterrows():
        number = int(rows[version["entry_id"]].rpartition("/")[2].partition("-")[0])
        at = hour_of(version["since"])
        until = hour_of(version["until"])
        told.setdefault(number, []).append((at, until, version["title"], version["teaser"]))
    true = {
        number: [
            (hour, after, title, teaser)
            for (hour, title, teaser), after in zip(
                known.versions, [*(v[0] for v in known.versions[1:]), None], strict=True
            )
        ]
        for number, known in month.town.history.items()
    }
    assert told == true
    assert sum(len(versions) - 1 for versions in true.values()) > 15


def the_new_look_was_healed_and_nothing_else_was_odd(month: Month) -> None:
    paths = sorted((month.output / "runs").glob("*.json"))
    assert len(paths) == HOURS
    told = {n: json.loads(path.read_text("utf-8")) for n, path in enumerate(paths)}
    anew = [
        hour
        for hour, run in told.items()
        if any("learned anew" in f["reason"] for f in run["course"]["findings"])
    ]
    deep = next(hour for hour in WHOLE if hour > NEW_LOOK)  # the later pages are met again
    assert anew == [NEW_LOOK, deep]
    others = {hour for hour, run in told.items() if run["course"]["findings"]} - {*anew}
    assert others == set(), "nothing else was odd"


def test_a_month_of_hourly_runs(run, tmp_path) -> None:
    """One test, for the month is long."""
    month = lived(tmp_path)
    alarms_are_the_planned_ones(month)
    a_quiet_hour_costs_one_page(month)
    rows_are_the_history_of_the_site(month)
    versions_are_the_history_of_the_site(month)
    withdrawals_are_seen_within_the_hour(month)
    the_new_look_was_healed_and_nothing_else_was_odd(month)
    output = ("--output", month.output)
    for command in (["check"], ["archive", "check"], ["status"]):
        done = run("harvester", *command, SOURCE, *output)
        assert (done.code, done.err) == (0, ""), command
    again = tmp_path / "again"
    done = run("harvester", "replay", SOURCE, "--archive", month.output, "--output", again)
    assert done.code == 65, "nobody has heard of the walls there"
    assert len(done.err.splitlines()) == 1
    assert Dataset(again).records(SOURCE) == Dataset(month.output).records(SOURCE)
    assert Dataset(again).versions(SOURCE) == Dataset(month.output).versions(SOURCE)
