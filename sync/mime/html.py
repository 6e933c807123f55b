"""Text made from HTML, by a tokenizer of our own.

A DOM would be quicker on common mail, but nested tags make it quadratic (200,000 open <div>: 147 s); this is linear
whatever comes, and a snippet can stop as soon as it is full.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

from sync.mime.charsets import storable

_TAG = re.compile(r"<!--|<(/?)([a-zA-Z][a-zA-Z0-9:]*)([^>]*)>|<[!?/][^>]*>")
_HIDDEN = frozenset({"style", "script", "title", "template"})
_PARAGRAPHS = frozenset(["p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "dl", "pre", "table", "hr"])
_LINES = frozenset(
    [
        "address",
        "article",
        "aside",
        "body",
        "br",
        "caption",
        "center",
        "dd",
        "details",
        "div",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "header",
        "html",
        "legend",
        "li",
        "main",
        "nav",
        "section",
        "summary",
        "tbody",
        "tfoot",
        "thead",
        "tr",
    ]
)
_CELLS = frozenset({"td", "th"})
_SPACES = re.compile(r"\s+")
_BLANK_LINES = re.compile(r" *\n(?: *\n)+ *")
#: How mail programs mark what they quote.
_QUOTE_MARK = re.compile(r"gmail_quote|yahoo_quoted|moz-cite-prefix|divRplyFwdMsg|protonmail_quote|zmail_extra")
_FORWARDED = re.compile(r"-{5,}\s*Forwarded", re.IGNORECASE)

PARAGRAPH = "\n\n"
LINE = "\n"


def html_to_text(html: str) -> str:
    """Return what a reader of the HTML sees, as plain text: a line a block, a blank line between paragraphs."""
    text = "".join(iter_text(html))
    text = _BLANK_LINES.sub(PARAGRAPH, text)
    return storable("\n".join(line.strip(" ") for line in text.split("\n")).strip())


def iter_text(html: str, *, skip_quotes: bool = False) -> Iterator[str]:
    """Yield the visible text in pieces: runs of text with single spaces, LINE and PARAGRAPH between blocks.

    `skip_quotes`: leave out block quotes and what mail programs mark as the mail answered to.
    """
    position = 0
    end = html.rfind(">") + 1  # an angle bracket that is never closed begins no tag
    preformatted = 0
    while position < end:
        found = _TAG.search(html, position, end)
        if found is None:
            break
        if found.start() > position:
            yield _visible(html[position : found.start()], preformatted > 0)
        position = found.end()
        if found[0] == "<!--":
            position = html.find("-->", position) + 3
            if position < 3:
                return
            continue
        name = (found[2] or "").lower()
        if name == "pre":
            preformatted = max(0, preformatted + (-1 if found[1] else 1))
        yield _gap(name)
        if not found[1]:
            position = _skip_hidden(html, name, found[3] or "", position, skip_quotes)
    yield _visible(html[position:], preformatted > 0)


def _visible(text: str, preformatted: bool) -> str:
    if "&" in text:
        text = unescape(text)
    return text if preformatted else _SPACES.sub(" ", text)


def _gap(name: str) -> str:
    if name in _LINES:
        return LINE
    if name in _PARAGRAPHS:
        return PARAGRAPH
    return " " if name in _CELLS else ""


def _skip_hidden(html: str, name: str, attributes: str, position: int, skip_quotes: bool) -> int:
    """Return where reading goes on after an opening tag: behind its element when that is not to be read."""
    if name in _HIDDEN:
        return _end_of_raw_element(html, name, position)
    if not skip_quotes:
        return position
    if name == "blockquote" or (
        ("quote" in attributes or "Rply" in attributes or "moz-cite" in attributes or "zmail" in attributes)
        and _QUOTE_MARK.search(attributes)
        and not _FORWARDED.search(html, position, position + 500)
    ):
        return _end_of_element(html, name, position)
    return position


def _end_of_raw_element(html: str, name: str, position: int) -> int:
    """Find the end of an element that holds no tags; an element that never ends hides nothing but itself."""
    found = re.compile(rf"</{name}[^>]*>", re.IGNORECASE).search(html, position)
    return found.end() if found else position if name in ("title", "template") else len(html)


def _end_of_element(html: str, name: str, position: int) -> int:
    depth = 1
    for found in re.compile(rf"<(/?){name}\b[^>]*>", re.IGNORECASE).finditer(html, position):
        depth += -1 if found[1] else 1
        if depth == 0:
            return found.end()
    return len(html)
