"""A quiet cron run (one unchanged page), and the help, in processor time of whole processes.

    python benchmarks/start.py [ROUNDS]

The unit is bare Scrapy that fetches the same page once; for the help it is an interpreter that does nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
BARE = """
import scrapy
from scrapy.crawler import CrawlerProcess

class Bare(scrapy.Spider):
    name = "bare"
    start_urls = ["http://127.0.0.1:{port}/page/3"]

    def parse(self, response):
        len(response.body)

process = CrawlerProcess()
process.crawl(Bare)
process.start()
"""


def cpu(*command: str) -> float:
    """Processor time of a process, which must end well."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        [sys.executable, *command], stdout=quiet, stderr=quiet, env=environment
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Fetch the page once, then measure by turns."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    server = subprocess.Popen(
        [sys.executable, HERE / "site_pages.py"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout
    port = server.stdout.readline().strip()
    with tempfile.TemporaryDirectory() as output:
        ours = [
            "crawl", "amnesty_usa", "--start-url", f"http://127.0.0.1:{port}/page/3",
            "--max-pages", "1", "--output", output,
        ]  # fmt: skip
        command = "from harvester.cli import main; main({!r})".format
        contestants = {
            "bare Scrapy": ("-c", BARE.format(port=port)),
            "quiet run": ("-c", command(ours)),
            "python": ("-c", "pass"),
            "import typer": ("-c", "import typer"),
            "--help": ("-c", command(["--help"])),
        }
        try:
            cpu("-c", command(ours))
            costs = {name: [cpu(*each)] for name, each in contestants.items()}
            for _ in range(rounds):
                for name, each in contestants.items():
                    costs[name].append(cpu(*each))
        finally:
            server.kill()
    cost = {name: median(values[1:]) for name, values in costs.items()}
    print(f"quiet run: {cost['quiet run'] / cost['bare Scrapy']:.2f} x bare Scrapy's one-page run")
    goal = 3 * cost["python"] + cost["import typer"]
    print(
        f"--help: {cost['--help'] / goal:.2f} x (4 x `python -c pass` + what importing Typer adds)"
    )


if __name__ == "__main__":
    main()
