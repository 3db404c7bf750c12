"""A fetched page, and its text: the encoding is settled here, once, for everyone.

Bytes that are valid UTF-8 are UTF-8, whatever their labels say: text in another encoding practically
never is.  Otherwise the labels are believed (byte order mark, Content-Type, ``<meta>``), as a browser
would, and at last BeautifulSoup's detector decides.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

_CHARSET: Final = re.compile(r"charset\s*=\s*[\"']?\s*([\w:.-]+)", re.IGNORECASE)
# What labels mean, not what they say (WHATWG encoding standard, "names and labels").
_MEANT: Final = {"iso-8859-1": "cp1252", "latin-1": "cp1252", "ascii": "cp1252", "us-ascii": "cp1252",
                 "gb2312": "gb18030", "gbk": "gb18030", "iso-8859-9": "cp1254", "tis-620": "cp874",
                 "shift_jis": "cp932", "euc-kr": "cp949", "ks_c_5601-1987": "cp949"}  # fmt: skip
# Python also knows codecs that no page is written in: punycode, idna, unicode_escape ...
_OF_PAGES: Final = re.compile(
    r"(?:utf-(?:8|16|32)|cp\d|iso|koi8|mac|gb|big5|shift_jis|euc_|kz1048|ptcp154|hz|johab|tis-620|ascii).*"
)
_BOMS: Final = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"),
                (codecs.BOM_UTF16_BE, "utf-16-be"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of a server, its body already without content encoding.

    ``headers`` have lower-case names; ``fetched_at`` carries a zone, or is ``None`` where nobody
    knows when the page was fetched (then it has no clock, and relative dates stay unread).
    """

    url: str
    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    fetched_at: datetime | None = None

    @property
    def text(self) -> str:
        """The body as text.  Never raises: bytes that fit no encoding become U+FFFD."""
        return decode(self.body, self.headers.get("content-type", ""))

    @property
    def utf8(self) -> bytes:
        """The body in UTF-8, which for nearly every page is the body itself."""
        if is_utf8(self.body):
            return self.body.removeprefix(codecs.BOM_UTF8)
        # Text cut out of bytes may hold lone surrogates, which have no UTF-8 form.
        return self.text.encode("utf-8", "replace")


def is_utf8(body: bytes) -> bool:
    """Whether bytes are text in UTF-8 beyond doubt.

    Escape sequences and NUL bytes are ASCII: ISO-2022-JP and UTF-16 would pass for it.
    """
    if b"\x1b" in body or b"\0" in body:
        return False
    if body.isascii():
        return True
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def decode(body: bytes, content_type: str = "") -> str:
    """The text of an HTML body; see the module for the order of evidence."""
    for mark, name in _BOMS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace")
    if is_utf8(body):
        return body.decode("utf-8")
    # A teaser that was cut in the middle of a character does not make the page something else.
    text = body.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    if len(text) - len(text.encode("ascii", "ignore")) > 5 * bad:
        return text
    # Imported late: a page in UTF-8, which is nearly every page, needs no detector.
    from bs4.dammit import EncodingDetector, UnicodeDammit

    labels = [found[1]] if (found := _CHARSET.search(content_type)) else []
    declared = EncodingDetector.find_declared_encoding(body, is_html=True)
    labels += [declared] if declared else []
    for label in labels:
        try:
            name = codecs.lookup(_MEANT.get(label.lower(), label)).name
        except (LookupError, ValueError):
            continue
        if not _OF_PAGES.fullmatch(name):
            continue
        labelled = body.decode(name, "replace")
        # A wrong label shows: more than a stray byte cannot be read with it.
        if labelled.count("\ufffd") <= len(labelled) // 1000:
            return labelled
    dammit = UnicodeDammit(body, is_html=True)
    if dammit.unicode_markup is not None and not dammit.contains_replacement_characters:
        return dammit.unicode_markup
    return text
