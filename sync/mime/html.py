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
_PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "dl", "pre", "table", "hr"})
_LINE_TAGS = """
    address article aside body br caption center dd details div dt fieldset figcaption figure footer form header html
    legend li main nav section summary tbody tfoot thead tr
"""
_LINES = frozenset(_LINE_TAGS.split())
_CELLS = frozenset({"td", "th"})
_SPACES = re.compile(r"\s+")
_END_TAGS = {name: re.compile(rf"</{name}[^>]*>", re.IGNORECASE) for name in _HIDDEN}
_QUOTE_TAGS = {
    name: re.compile(rf"<(/?){name}\b[^>]*>", re.IGNORECASE) for name in ("blockquote", "div", "span", "table")
}
#: How mail programs mark what they quote.
_QUOTE_MARK = re.compile(r"gmail_quote|yahoo_quoted|moz-cite-prefix|divRplyFwdMsg|protonmail_quote|zmail_extra")
_FORWARDED = re.compile(r"-{5,}\s*Forwarded", re.IGNORECASE)


def html_to_text(html: str) -> str:
    """Return what a reader of the HTML sees, as plain text: a line a block, a blank line between paragraphs."""
    lines: list[str] = []
    for line in "".join(iter_text(html)).split("\n"):
        line = line.rstrip()
        if line or (lines and lines[-1]):
            lines.append(line)
    return storable("\n".join(lines).rstrip())


def iter_text(html: str, *, skip_quotes: bool = False) -> Iterator[str]:
    """Yield the visible text in pieces: single spaces inside a line, one line break at least between blocks.

    `skip_quotes`: leave out block quotes and what mail programs mark as the mail answered to.
    """
    flow = _Flow()
    position = 0
    end = html.rfind(">") + 1  # an angle bracket that is never closed begins no tag
    while position < end and (found := _TAG.search(html, position, end)):
        if found.start() > position:
            yield flow.text(html[position : found.start()])
        position = found.end()
        if found[0] == "<!--":
            close = html.find("-->", position)
            if close < 0:
                return
            position = close + 3
        elif found[2]:
            name = found[2].lower()
            yield flow.tag(name, closing=bool(found[1]))
            if not found[1]:
                position = _skip_element(html, name, found[3], position, skip_quotes=skip_quotes)
    yield flow.text(html[position:])


class _Flow:
    """Where in a line we are: what white space means depends on it."""

    def __init__(self) -> None:
        self._after_space = True
        self._preformatted = 0

    def text(self, text: str) -> str:
        if "&" in text:
            text = unescape(text)
        if self._preformatted:
            text = text.replace("\r\n", "\n")
        else:
            text = _SPACES.sub(" ", text)
            if self._after_space:
                text = text.lstrip(" ")
        if text:
            self._after_space = text[-1] in " \n"
        return text

    def tag(self, name: str, *, closing: bool) -> str:
        if name == "pre":
            self._preformatted = max(0, self._preformatted + (-1 if closing else 1))
        if name in _LINES or name in _PARAGRAPHS:
            self._after_space = True
            return "\n" if name in _LINES else "\n\n"
        if name in _CELLS and not self._after_space:
            self._after_space = True
            return " "
        return ""


def _skip_element(html: str, name: str, attributes: str, position: int, *, skip_quotes: bool) -> int:
    """Return where reading goes on after an opening tag: behind its element when that is not to be read."""
    if name in _HIDDEN:
        found = _END_TAGS[name].search(html, position)
        return found.end() if found else len(html)
    if not skip_quotes or name not in _QUOTE_TAGS:
        return position
    is_quote = name == "blockquote" or (
        _QUOTE_MARK.search(attributes) is not None and not _FORWARDED.search(html, position, position + 500)
    )
    return _end_of_element(html, name, position) if is_quote else position


def _end_of_element(html: str, name: str, position: int) -> int:
    depth = 1
    for found in _QUOTE_TAGS[name].finditer(html, position):
        depth += -1 if found[1] else 1
        if depth == 0:
            return found.end()
    return len(html)
