"""Near-duplicates among generated entries: what the stories find, beside datasketch as its manual uses it.

    python benchmarks/stories.py [ENTRIES]     100,000 unless told
    python benchmarks/stories.py --million     a million, told to a storybook piece by piece

A fifth of the entries are copies of others: edited, cut, with something put in front, in another case,
or several of these.  What must stay apart is hard on purpose: parts of a series, items that share only
a title, items with the same teaser.  Precision and recall count pairs of entries.  datasketch (128
permutations, LSH at 0.5, every match joined) runs on the first 10,000, by turns with ours; rates are of
processor time.
"""

from __future__ import annotations

import random
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Hashable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipelines.dataset import Dataset
from pipelines.stories import STORIES, Member, settle
from pipelines.storybook import Storybook
from pipelines.table import Stored

COPIES = 0.2
BASELINE = 10_000
ROUNDS = 3
MILLION, PIECE = 1_000_000, 20_000
PLACES = """Minsk Hrodna Brest Homel Vitsebsk Mahiliou Warsaw Vilnius Kyiv Riga Geneva Strasbourg Brussels
Moscow Pinsk Baranavichy Orsha Lida Polatsk Salihorsk""".split()
WHO = """journalist student lawyer teacher blogger nurse pensioner editor priest worker activist musician
photographer historian farmer engineer doctor translator driver librarian""".split()
WHOM = """parliament committee court ministry police council commission union university association
government prosecutor embassy hospital newspaper school company church museum academy""".split()
DID = """sentenced arrested released questioned fined dismissed expelled praised sued warned searched
deported beaten accused acquitted honoured invited banned recognised remembered""".split()
WHY = """protest post leaflet flag song interview strike vote petition book lecture march report letter
concert exhibition donation video speech article""".split()
HOW = """peaceful unauthorised anonymous historic annual final secret public joint national regional
independent religious academic online sudden repeated early local international""".split()
LINK = "after before during because while although despite without against since".split()
SYLLABLES = "ka lo vi na sha re mu ti bo zhy da le ro ske pa ni hra ve sto ju".split()
PREFIXES = ("UPDATE:", "Breaking:", "Press release:", "URGENT ACTION –", "Statement |", "News:")


class Writer:
    """Writes entries that read like headlines and first sentences."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.boilerplate = [self.teaser() for _ in range(20)]

    def name(self) -> str:
        """A person."""
        first, last = ("".join(self.chance.choices(SYLLABLES, k=k)).title() for k in (2, 3))
        return f"{first} {last}"

    def clause(self) -> str:
        """Somebody did something somewhere."""
        say = self.chance.choice
        return say((
            f"{say(WHO)} {self.name()} {say(DID)} in {say(PLACES)} for a {say(HOW)} {say(WHY)}",
            f"{say(HOW)} {say(WHOM)} in {say(PLACES)} {say(DID)} {self.chance.randint(2, 90)} people {say(LINK)} the {say(WHY)}",
            f"{self.name()}, a {say(WHO)} from {say(PLACES)}, was {say(DID)} by the {say(WHOM)}",
            f"the {say(WHOM)} of {say(PLACES)} {say(DID)} {self.name()} {say(LINK)} a {say(WHY)}",
        ))  # fmt: skip

    def title(self) -> str:
        """One clause."""
        text = self.clause()
        return text[0].upper() + text[1:]

    def teaser(self) -> str:
        """Two or three of them."""
        link = self.chance.choice
        clauses = [self.clause() for _ in range(self.chance.randint(2, 3))]
        return f" {link(LINK)} ".join(clauses).capitalize() + "."

    def copy(self, title: str, teaser: str) -> tuple[str, str]:
        """The same entry as another site, or another day, has it."""
        for kind in self.chance.sample(
            ["edit", "cut", "prefix", "case"], self.chance.randint(1, 2)
        ):
            if kind == "edit":
                title, teaser = self.edited(title, 1), self.edited(teaser, 3)
            elif kind == "cut":
                teaser = teaser[: int(len(teaser) * self.chance.uniform(0.3, 0.9))]
            elif kind == "prefix":
                title = f"{self.chance.choice(PREFIXES)} {title}"
            else:
                title, teaser = title.upper(), teaser.upper()
        return title, teaser

    def edited(self, text: str, most: int) -> str:
        """Some words dropped, added or replaced; numbers stay, for another number is another story."""
        words = text.split()
        for _ in range(self.chance.randint(0, most)):
            at = self.chance.randrange(len(words))
            if words[at].isdigit():
                continue
            kind = self.chance.randrange(3)
            words[at : at + (kind > 0)] = [] if kind == 1 else [self.chance.choice(HOW + LINK)]
        return " ".join(words)

    def entries(self, count: int) -> list[tuple[int, str, str]]:
        """Number of the story, title and teaser of each, in no order."""
        found: list[tuple[int, str, str]] = []
        story = 0
        while len(found) < count:
            title, teaser, kind = self.title(), self.teaser(), self.chance.random()
            if kind < 0.04:
                fresh = [
                    (f"{title}, Part {n}", teaser) for n in self.chance.sample(range(1, 60), 3)
                ]
            elif kind < 0.08:
                fresh = [(title, self.teaser()) for _ in range(3)]
            elif kind < 0.12:
                fresh = [(title, self.chance.choice(self.boilerplate))]
            else:
                fresh = [(title, teaser)]
            for a_title, a_teaser in fresh:
                story += 1
                found.append((story, a_title, a_teaser))
                if self.chance.random() < COPIES / (1 - COPIES):
                    found.append((story, *self.copy(a_title, a_teaser)))
        self.chance.shuffle(found)
        return found[:count]


def members_of(
    entries: Sequence[tuple[int, str, str]], start: datetime, first: int
) -> list[Member]:
    """Entries as the stories know them, a second between them."""
    return [
        Member(
            entry_id=str(n),
            of="a",
            first_seen=start + timedelta(seconds=n - first),
            title=title,
            teaser=teaser,
            story_id="",
            shown="",
        )
        for n, (_, title, teaser) in enumerate(entries, first)
    ]


def harvester(entries: Sequence[tuple[int, str, str]]) -> list[str]:
    """The story of each entry, as a publish finds it."""
    members = members_of(entries, datetime(2026, 1, 1, tzinfo=UTC), 0)
    found = settle(members, Stored(Path(), STORIES, "all", ())).members
    return [found[member.entry_id].story_id for member in members]


def datasketch(entries: Sequence[tuple[int, str, str]]) -> list[int]:
    """Words in threes, MinHash, LSH, and all that match are one."""
    from datasketch import MinHash, MinHashLSH

    lsh = MinHashLSH(threshold=0.5, num_perm=128)
    root = list(range(len(entries)))

    def find(n: int) -> int:
        while root[n] != n:
            root[n] = root[root[n]]
            n = root[n]
        return n

    for n, (_, title, teaser) in enumerate(entries):
        words = re.findall(r"\w+", f"{title} {teaser}".lower())
        mark = MinHash(num_perm=128)
        for at in range(max(len(words) - 2, 1)):
            mark.update(" ".join(words[at : at + 3]).encode())
        for other in lsh.query(mark):
            root[find(n)] = find(int(other))
        lsh.insert(str(n), mark)
    return [find(n) for n in range(len(entries))]


def score(
    entries: Sequence[tuple[int, str, str]], found: Sequence[Hashable]
) -> tuple[float, float]:
    """Precision and recall over pairs of entries."""

    def pairs(labels: Sequence[Hashable]) -> int:
        return sum(count * (count - 1) // 2 for count in Counter(labels).values())

    truth = [story for story, _, _ in entries]
    both = pairs(list(zip(found, truth, strict=True)))
    return both / max(pairs(found), 1), both / max(pairs(truth), 1)


def million() -> None:
    """Tell a storybook of a million entries, and print what that takes."""
    writer = Writer(seed=1)
    start, told, seconds = datetime(2026, 1, 1, tzinfo=UTC), 0, 0.0
    with TemporaryDirectory() as folder:
        book = Storybook(Dataset(Path(folder)))
        with book.opened():
            while told < MILLION:
                members = members_of(writer.entries(PIECE), start + timedelta(seconds=told), told)
                before = time.process_time()
                book.tell("a", members)
                book.commit("a")
                seconds += time.process_time() - before
                told += PIECE
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                if told % (10 * PIECE) == 0:
                    rate = told / seconds
                    print(
                        f"{told:9,} entries  {rate:6,.0f} a second  {peak:5,.0f} MB at most",
                        flush=True,
                    )


def main() -> None:
    """Generate, find, compare."""
    if "--million" in sys.argv:
        return million()
    entries = Writer(seed=1).entries(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
    rates: dict[str, list[float]] = {"harvester": [], "datasketch": []}
    harvester(entries[:1000])  # loads what is loaded once
    for name, contestant, some in ROUNDS * (
        ("harvester", harvester, entries),
        ("datasketch", datasketch, entries[:BASELINE]),
    ):
        start = time.process_time()
        found = contestant(some)
        rates[name].append(len(some) / (time.process_time() - start))
        precision, recall = score(some, found)
        print(
            f"{name:12} {len(some):7,} entries  precision {precision:.4f}  recall {recall:.4f}"
            f"  {rates[name][-1]:6,.0f} a second"
        )
    ours, theirs = map(median, rates.values())
    print(f"harvester is {ours / theirs:.1f} times as fast (goal: 12)")


if __name__ == "__main__":
    main()
