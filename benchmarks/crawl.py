"""Processor time per page of a whole crawl, as ratios to bare Scrapy in the same run.

Each contestant runs in a process of its own, with few pages and with many; the difference divided by
the pages between is its cost per page, free of start-up.  Rounds are interleaved, medians are kept,
because machines are noisy: only the ratios mean something.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
# (few, many) pages; the textbook form is so slow that fewer pages measure it as well.
PAGES = {"bare": (20, 1220), "harvester": (20, 1220), "textbook": (5, 65)}


def cpu_seconds(contestant: str, port: str, pages: int) -> float:
    """Processor time of one crawl, user and system."""
    with tempfile.TemporaryDirectory() as output:
        process = subprocess.Popen(
            [sys.executable, HERE / "contestants.py", contestant, port, str(pages), output],
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{contestant} failed with {process.returncode}")
        if contestant == "harvester" and not list(Path(output).glob("entries/*/*.parquet")):
            raise SystemExit("harvester published nothing")
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    server = subprocess.Popen(
        [sys.executable, HERE / "site_pages.py"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout
    port = server.stdout.readline().strip()
    costs: dict[str, list[float]] = {name: [] for name in PAGES}
    try:
        for name, (few, _) in PAGES.items():
            cpu_seconds(name, port, few)  # compiles, fills caches, builds pages
        for _ in range(rounds):
            for name, (few, many) in PAGES.items():
                start = cpu_seconds(name, port, few)
                costs[name].append((cpu_seconds(name, port, many) - start) / (many - few))
    finally:
        server.kill()
    unit = median(costs["bare"])
    ours = median(costs["harvester"])
    print(
        f"whole crawl, processor time per page of 30 entries, median of {rounds} interleaved rounds"
    )
    for name, values in costs.items():
        spread = f"{min(values) / unit:.2f} to {max(values) / unit:.2f}"
        print(
            f"  {name:<10} {median(values) * 1e3:7.2f} ms  {median(values) / unit:6.2f} x bare  ({spread})"
        )
    print(f"  the textbook form costs {median(costs['textbook']) / ours:.1f} x harvester")
    packages = (
        "scrapy",
        "selectolax",
        "fastwarc",
        "pyarrow",
        "beautifulsoup4",
        "dateparser",
        "pandas",
    )
    print(f"  Python {sys.version.split()[0]}, " + ", ".join(f"{p} {version(p)}" for p in packages))


if __name__ == "__main__":
    main()
