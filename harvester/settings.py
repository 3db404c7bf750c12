"""Scrapy settings: polite to the sites, safe for the machine.  Each says why it is not the default."""

import os

from pipelines.version import VERSION

BOT_NAME = "harvester"
SPIDER_MODULES = ["harvester.spiders"]
NEWSPIDER_MODULE = "harvester.spiders"
SPIDER_LOADER_CLASS = "harvester.sources.Sources"  # a broken file costs the others nothing

# Where the data set lies, a folder or s3://bucket/prefix; `--output` or `scrapy crawl -s
# HARVESTER_OUTPUT=DIR` set it.
HARVESTER_OUTPUT = os.environ.get("HARVESTER_OUTPUT", "output")

# Polite: say who asks, obey robots.txt, one request at a time with a pause.
# HARVESTER_OPERATOR says whom to ask about it, an address or a page; the archive keeps it too.
HARVESTER_OPERATOR = os.environ.get("HARVESTER_OPERATOR", "")
_CONTACT = f"; +{HARVESTER_OPERATOR}" if HARVESTER_OPERATOR else ""
USER_AGENT = os.environ.get(
    "HARVESTER_USER_AGENT", f"Harvester/{VERSION} (news archive; Scrapy{_CONTACT})"
)
ROBOTSTXT_OBEY = True
CONCURRENT_REQUESTS_PER_DOMAIN = 1
DOWNLOAD_DELAY = 1.0
# Slower where a server is slow; Retry-After is obeyed, up to this many seconds in a run.
AUTOTHROTTLE_ENABLED = True
AUTOTHROTTLE_START_DELAY = 1.0
AUTOTHROTTLE_MAX_DELAY = 60.0
AUTOTHROTTLE_TARGET_CONCURRENCY = 1.0
HARVESTER_LONGEST_WAIT = 120.0
# After a failure a host is left alone for so many seconds, then for twice as many, and so on.
HARVESTER_BACK_OFF = 2.0
# The machine itself needs no pause: tests, the demo, a local mirror.
_LOOPBACK = {"concurrency": 8, "delay": 0.0, "jitter": 0.0}
DOWNLOAD_SLOTS = dict.fromkeys(("127.0.0.1", "localhost", "::1", "[::1]"), _LOOPBACK)

# The Chromium that renders the pages of sources with `render = True`; else the first on the PATH.
HARVESTER_CHROMIUM = os.environ.get("HARVESTER_CHROMIUM", "")

# Safe: certificates are checked, sizes and times are bounded, nothing listens.
DOWNLOAD_VERIFY_CERTIFICATES = True
DOWNLOAD_MAXSIZE = 32 * 1024 * 1024
DOWNLOAD_WARNSIZE = 0
DOWNLOAD_TIMEOUT = 60
RETRY_TIMES = 2
# What `harvester.wire` raises; Scrapy's list has the errors of its own handlers, and imports them.
RETRY_EXCEPTIONS = [
    "scrapy.exceptions.CannotResolveHostError",
    "scrapy.exceptions.DownloadConnectionRefusedError",
    "scrapy.exceptions.DownloadFailedError",
    "scrapy.exceptions.DownloadTimeoutError",
    OSError,
]
# No run goes on for longer; what it has read by then is stored.
CLOSESPIDER_TIMEOUT = 2 * 60 * 60
# Scrapy starts all sources at once, and each holds three files open or more: its lock, its archive, a
# connection.  So many leave room in the 256 files that some systems allow, and wait for 32 sites.
HARVESTER_AT_ONCE = 32
# Seconds for which `--cluster` tries a source again that another process holds: a run that was taken for
# dead, and is not, ends or is killed by then.
HARVESTER_PATIENCE = 900.0
REDIRECT_MAX_TIMES = 5
# The recorder keeps what came of an answer that ended early, and asks again.
DOWNLOAD_FAIL_ON_DATALOSS = False
TELNETCONSOLE_ENABLED = False
REMOTE_CONTROL_ENABLED = False
# Scrapy's own takes three times the processor time, and sees names only before they are connected to.
_WIRE = dict.fromkeys(("http", "https"), "harvester.wire.Wire")
DOWNLOAD_HANDLERS = {**_WIRE, "file": None, "ftp": None, "s3": None, "data": None}
# A page that reloads itself every minute would be fetched for ever.
METAREFRESH_ENABLED = False
# Archives must be readable wherever they are replayed: gzip is, brotli and zstd may not be.
DEFAULT_REQUEST_HEADERS = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate",
}

# Every page is asked for afresh, as a replay reads it: no cookies, no referrer.  How far to go is
# decided in paging.py.
COOKIES_ENABLED = False
REFERER_ENABLED = False
SPIDER_MIDDLEWARES = {
    "scrapy.spidermiddlewares.depth.DepthMiddleware": None,
    "scrapy.spidermiddlewares.urllength.UrlLengthMiddleware": None,
}

# An entry is known only once its page is archived, and lost only when its run is not published.
DOWNLOADER_MIDDLEWARES = {
    # Even where there are no cookies it imports what knows the suffixes of all domains.
    "scrapy.downloadermiddlewares.cookies.CookiesMiddleware": None,
    "harvester.guard.Guard": 10,
    "harvester.politeness.Politeness": 560,  # it sees failures before they are retried
    "harvester.recorder.Recorder": 1000,
}
ITEM_PIPELINES = {"pipelines.item_pipeline.PublishPipeline": 900}
EXTENSIONS = {
    "harvester.replay.RecoverOnStart": 0,
    # Switched off, and not even imported.
    "scrapy.extensions.telnet.TelnetConsole": None,
    "scrapy.extensions.remote_control.RemoteControl": None,
}

# Scrapy starts this many tasks for every page, whatever the page yields; the pipeline only collects.
CONCURRENT_ITEMS = 1
# Entries are single items, as feed exports and other pipelines expect them.  `harvester crawl`, where
# nobody else listens, sends a page's entries as one: thirty items cost more than reading the page.
HARVESTER_BATCHES = False
# Its line for every item costs more than reading it.
LOG_LEVEL = "INFO"
# Scrapy looks at the callback's source for every page, for a mistake that mypy rules out.
WARN_ON_GENERATOR_RETURN_VALUE = False
FEED_EXPORT_ENCODING = "utf-8"
