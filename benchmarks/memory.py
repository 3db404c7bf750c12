"""The most memory that crawls of different lengths take.

    python benchmarks/memory.py [PAGES...]     2,000 and 20,000 unless told

Thirty new entries on each page, which weighs 140 KB.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Crawl, each in a process of its own."""
    server = subprocess.Popen(
        [sys.executable, HERE / "site_pages.py"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout
    port = server.stdout.readline().strip()
    try:
        for pages in sys.argv[1:] or ("2000", "20000"):
            with tempfile.TemporaryDirectory() as output:
                command = [
                    sys.executable,
                    HERE / "contestants.py",
                    "harvester",
                    port,
                    pages,
                    output,
                ]
                process = subprocess.Popen(
                    command,
                    stderr=subprocess.DEVNULL,
                    env={**os.environ, "PYTHONPATH": str(HERE.parent)},
                )
                _, status, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                if process.returncode:
                    raise SystemExit(f"the crawl failed with {process.returncode}")
            print(f"{int(pages):7,} pages: {used.ru_maxrss / 1024:4.0f} MiB at most", flush=True)
    finally:
        server.kill()


if __name__ == "__main__":
    main()
