"""The first words of a mail, for lists."""

from __future__ import annotations

import re

from sync.mime.charsets import storable
from sync.mime.html import iter_text
from sync.mime.values import SNIPPET_LENGTH

#: Characters of a text that are looked at; of HTML the whole is, since style sheets come first.
_WINDOW = 20_000
_WROTE = r"(?:wrote|writes|schrieb|a écrit|escribió|ha scritto|schreef|skrev|escreveu|napisał\(?a?\)?|kirjoitti|пишет|написал\(?а?\)?)"
_ATTRIBUTION = re.compile(
    rf"^[ \t]*(?:On|Am|Le|El|Il|Op|Den|Em|W dniu|Dnia|В|At)\b[^\n]{{0,200}}(?:\n[^\n>]{{1,200}}){{0,2}}?{_WROTE}[ \t]*:[ \t]*$"
    rf"|^[^\n]{{1,150}}{_WROTE}[ \t]*:[ \t]*$(?=\s*>)",
    re.MULTILINE,
)
#: Behind these lines stands the mail that is answered.
_ANSWERED = re.compile(
    r"^[ \t]*(?:-{3,}[ \t]*(?:Original Message|Original-Nachricht|Ursprüngliche Nachricht|Message d'origine"
    r"|Mensaje original|Messaggio originale|Oorspronkelijk bericht)[ \t]*-{3,}"
    r"|_{20,}\s*(?=From:)|From:[^\n]{1,200}\n[ \t]*(?:Sent|Date):|-- $)",
    re.MULTILINE | re.IGNORECASE,
)
_QUOTED_LINE = re.compile(r"^[ \t]*>[^\n]*$", re.MULTILINE)
_ARMOUR = re.compile(r"-----BEGIN PGP SIGNED MESSAGE-----\s*(?:Hash:[^\n]*)?")
#: White space, and the characters without width that newsletters pad their first line with.
_GAPS = re.compile(r"\s[\s\u00ad\u034f\u061c\u200b-\u200f\u2060-\u2064\ufeff]*|[\u00ad\u034f\u200b\u2060\ufeff]+\s*")


def make_snippet(text: str | None, html: str | None) -> str:
    """Return at most SNIPPET_LENGTH characters of what the sender wrote: no tags, no quotes, single spaces."""
    snippet = _from_text(text) if text else ""
    return snippet or (_from_html(html) if html else "")


def _from_text(text: str) -> str:
    text = text[:_WINDOW].replace("\r\n", "\n").replace("\r", "\n")
    if "-----BEGIN PGP" in text:
        text = _ARMOUR.sub("", text)
    if ":" in text:
        text = _ATTRIBUTION.sub("", text)
    if ">" in text:
        text = _QUOTED_LINE.sub("", text)
    answered = _ANSWERED.search(text)
    if answered is not None and text[: answered.start()].strip():
        text = text[: answered.start()]
    return _cut(text)


def _from_html(html: str) -> str:
    pieces: list[str] = []
    length = 0
    for piece in iter_text(html, skip_quotes=True):
        pieces.append(piece)
        length += len(piece) if piece.strip() else 0
        if length > 20 * SNIPPET_LENGTH:
            break
    return _from_text("".join(pieces))


def _cut(text: str) -> str:
    words = _GAPS.sub(" ", text[: 50 * SNIPPET_LENGTH]).strip()
    return storable(words[:SNIPPET_LENGTH].rstrip())
