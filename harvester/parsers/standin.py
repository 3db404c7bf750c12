"""What stands in the place of a listing, where a page shows none: a login, a challenge, an error.

Signs that sites have in common, not words of single sites: what forms ask for, what scripts and boxes
are called, what title and heading say.  It explains an alarm, and never decides one.
"""

from __future__ import annotations

import re
from typing import Final

from selectolax.lexbor import LexborHTMLParser

from harvester.page import Page
from harvester.parsers.tree import Unreadable, parse, text_of

_FEW_BYTES: Final = 512
_FEW_WORDS: Final = 30
_SHORT: Final = 4_000  # characters of text: consent boxes stand on whole pages too
_CHALLENGE: Final = re.compile(
    r"captcha|turnstile|cf-chl|challenge-(?:form|platform|running)|px-captcha|ddos-guard",
    re.IGNORECASE,
)
_HUMAN: Final = re.compile(
    r"(?:are|you're|you are) (?:a )?(?:human|robot)|not a robot|checking your browser|unusual traffic"
    r"|enable javascript and cookies",
    re.IGNORECASE,
)
_CONSENT: Final = re.compile(
    r"consent|cookie-?(?:wall|banner|notice)|gdpr|privacy-?wall", re.IGNORECASE
)
_GONE: Final = re.compile(
    r"\b404\b|not found|no longer (?:available|exists)|не найден|не знойдзена|не знайден|nicht gefunden"
    r"|introuvable|no (?:se )?encontrad|não encontrad|non trovat|nie znaleziono|未找到|不存在",
    re.IGNORECASE,
)
_DOWN: Final = re.compile(
    r"maintenance|temporarily unavailable|service unavailable|bad gateway|internal server error"
    r"|технически[ех] работ|wartungsarbeiten",
    re.IGNORECASE,
)


def stands_in(page: Page) -> str | None:
    """What a page without entries seems to be, in a few words; ``None`` where nothing tells."""
    if len(page.body) < _FEW_BYTES:
        return f"the answer is nearly empty ({len(page.body)} bytes)"
    try:
        tree = parse(page.utf8)
    except Unreadable:
        return None
    text = text_of(tree.body) if tree.body else ""
    heads = " ".join(text_of(node) for node in tree.css("title, h1"))
    if tree.css_first("input[type=password]"):
        return "it asks for a login"
    if _CHALLENGE.search(_names(tree)) or (_HUMAN.search(text) and len(text) < _SHORT):
        return "it is a challenge for robots"
    if _GONE.search(heads):
        return "it says that there is no such page"
    if _DOWN.search(heads):
        return "it says that the site is down"
    if _CONSENT.search(_names(tree)) and len(text) < _SHORT:
        return "it asks for consent"
    if len(text.split()) < _FEW_WORDS and len(tree.css("script")) > 1:
        return "its text is made by scripts"
    return None


def _names(tree: LexborHTMLParser) -> str:
    """What the boxes, forms and scripts of a page are called."""
    named = tree.css("form, iframe, script[src], div[id], div[class], section[id], section[class]")
    told = (
        node.attributes.get(name) or ""
        for node in named
        for name in ("id", "class", "action", "src", "title")
    )
    return " ".join(told)
