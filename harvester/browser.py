"""Whether pages can be rendered on this machine, by which Chromium, and what a crawler is told of it.

Nothing here imports Playwright: who needs no browser pays nothing for those who do.
"""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import Any, Final

from scrapy.settings import BaseSettings

# In ``request.meta``: this page is to be rendered, and the browser that has done so.
RENDER: Final = "harvester_render"
RENDERED_BY: Final = "harvester_rendered_by"

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_EXTRA: Final = "scrapy_playwright"
# What a page asks for is fetched by ``renderer``.  Chromium itself has no network: every name, and
# every address that is written out, leads nowhere, and what needs no name (WebRTC) gets no UDP.
_NO_NETWORK: Final = (
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
)


class CannotRender(Exception):
    """What a browser needs is not installed; the message says what to install."""


def use_browser(settings: BaseSettings) -> None:
    """Let a crawler render the requests that say so.  Other crawlers of the process are as they were."""
    handlers = settings.getdict("DOWNLOAD_HANDLERS")
    handlers |= dict.fromkeys(("http", "https"), "harvester.renderer.Renderer")
    launch: dict[str, Any] = {
        "executable_path": _chromium(settings),
        "args": list(_NO_NETWORK),
        # Chromium's sandbox does not work for root.
        "chromium_sandbox": os.geteuid() != 0,
        # This process decides when the browser ends: after the page that it is reading.
        "handle_sigint": False,
        "handle_sigterm": False,
        "handle_sighup": False,
    }
    told = {
        "DOWNLOAD_HANDLERS": handlers,
        "PLAYWRIGHT_BROWSER_PROVIDER": "harvester.renderer.Driver",
        "PLAYWRIGHT_LAUNCH_OPTIONS": launch,
        # ``renderer`` bounds the whole of it.
        "PLAYWRIGHT_DEFAULT_NAVIGATION_TIMEOUT": 0,
    }
    settings.setdict(told, priority="spider")


def check(settings: BaseSettings) -> None:
    """Raise ``CannotRender`` where a browser, or what drives it, is missing."""
    if find_spec(_EXTRA) is None:
        raise CannotRender(
            "its pages need a browser, and scrapy-playwright is missing; "
            "install the extra: pip install -e '.[browser]'"
        )
    if _chromium(settings) is None:
        named = settings["HARVESTER_CHROMIUM"]
        missing = f"{named} is no program" if named else "there is no Chromium on the PATH"
        raise CannotRender(
            f"its pages need a browser, and {missing}; "
            "install one (apt-get install chromium), or name it in HARVESTER_CHROMIUM"
        )


def _chromium(settings: BaseSettings) -> str | None:
    """The Chromium of this machine; none is ever downloaded."""
    named = settings["HARVESTER_CHROMIUM"]
    found = map(shutil.which, [named] if named else _NAMES)
    return next(filter(None, found), None)
