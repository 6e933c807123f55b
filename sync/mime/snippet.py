"""The first words of a mail, for lists."""

from __future__ import annotations

import re

from sync.mime.html import iter_text
from sync.mime.values import SNIPPET_LENGTH

#: Characters of a text that are looked at.
_WINDOW = 20_000
#: The same of HTML, where style sheets come first.
_HTML_WINDOW = 300_000
#: Characters behind which no more lines are read: some of them may turn out to introduce a quote, and go again.
_ENOUGH = 4 * SNIPPET_LENGTH
#: Lines that one "On … wrote:" may take.
_ATTRIBUTION_LINES = 3

#: How it begins and ends, in the languages of the common mail programs.
_INTRODUCES = re.compile(
    r"(?:On|At|Am|Le|El|Il|Op|Den|Em|Pe|Dne|Dnia|W dniu|В|\d{1,4}[-./]\d{1,2}[-./]\d{2,4}|[Ss]crisse)\b|20\d\d年"
)
_WROTE = re.compile(
    r"\b(?:wrote|writes|schrieb|a écrit|écrit|escribió|ha scritto|schreef|skrev|escreveu|napisał\(?a?\)?|kirjoitti"
    r"|написал\(?а?\)?|пишет|a scris|napsal\(?a?\)?)\b[^:]{0,60}[:：]$"
)
#: Behind such a line stands the mail that is answered, or nothing that the sender wrote for this one.
_ANSWERED = re.compile(
    r"-{3,}[ ]*(?:Original Message|Original-Nachricht|Ursprüngliche Nachricht|Message d'origine|Mensaje original"
    r"|Messaggio originale|Oorspronkelijk bericht|Reply Message)[ ]*-{3,}|_{20,}$|--$",
    re.IGNORECASE,
)
_HEADER_LINE = re.compile(r"\*?(?:From|Von|De|Da|Van|Från):\*? ")
_NEXT_HEADER_LINE = re.compile(r"\*?(?:Sent|Date|To|Gesendet|Datum|Envoyé|Enviado|Inviato|Verzonden|Skickat):\*? ")
_ARMOUR = re.compile(r"-----BEGIN PGP SIGNED MESSAGE-----\s*(?:Hash:[^\n]*)?")
#: White space, and the characters without width that newsletters pad their first line with.
_GAPS = re.compile(
    r"[\u034f\u200b-\u200f\ufeff]*\s[\s\u00ad\u034f\u061c\u200b-\u200f\u2060-\u2064\ufeff]*"
    r"|[\u00ad\u034f\u200b\u2060\ufeff]+\s*"
)


def make_snippet(text: str | None, html: str | None) -> str:
    """Return at most SNIPPET_LENGTH characters of what the sender wrote: no tags, no quotes, single spaces."""
    snippet = _from_text(text) if text else ""
    return snippet or (_from_html(html) if html else "")


def _from_text(text: str) -> str:
    text = text[:_WINDOW]
    if "-----BEGIN PGP" in text:
        text = _ARMOUR.sub("", text)
    words = " ".join(" ".join(_own_lines(text.splitlines())).split())
    if not words.isascii():
        words = _GAPS.sub(" ", words).strip()
    return words[:SNIPPET_LENGTH].rstrip()


def _from_html(html: str) -> str:
    pieces: list[str] = []
    length = 0
    for piece in iter_text(html[:_HTML_WINDOW], skip_quotes=True):
        pieces.append(piece)
        length += len(piece.strip())
        if length > 4 * _ENOUGH:
            break
    return _from_text("".join(pieces))


def _own_lines(lines: list[str]) -> list[str]:
    """Return the first lines that are the sender's own, about _ENOUGH characters of them."""
    own: list[str] = []
    length = 0
    for index, line in enumerate(lines):
        line = line.strip()
        if not line or line[0] == ">":
            continue
        if line[-1] in ":：" and _WROTE.search(line):
            _drop_attribution(own, line)
        elif own and _begins_answered(line, lines[index + 1 : index + 2]):
            break
        else:
            own.append(line[: 2 * _ENOUGH])
            length += len(line)
            if length > _ENOUGH:
                break
    return own


def _begins_answered(line: str, following: list[str]) -> bool:
    if line[0] in "-_":
        return _ANSWERED.match(line) is not None
    return (
        _HEADER_LINE.match(line) is not None
        and bool(following)
        and _NEXT_HEADER_LINE.match(following[0].strip()) is not None
    )


def _drop_attribution(own: list[str], last_line: str) -> None:
    """Take back the lines that an attribution, ending with `last_line`, began on."""
    if _INTRODUCES.match(last_line):
        return
    for count in range(1, _ATTRIBUTION_LINES):
        if len(own) >= count and _INTRODUCES.match(own[-count]):
            del own[-count:]
            return
