"""Mails for tests that change a mailbox at random: small, each different from all others by its number."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime

#: INTERNALDATE of mail 0; each number is a minute later.
FIRST = datetime(2024, 5, 17, 9, 30, tzinfo=UTC)
#: What a mail is like; see `letter`.
KINDS = ("plain", "reply", "names", "attachment", "nameless", "large")


def arrived_at(number: int) -> datetime:
    """When mail `number` came."""
    return FIRST + timedelta(minutes=number)


def letter(number: int, kind: str = "plain", *, answers: Sequence[int] = ()) -> bytes:
    """Return mail `number`, lines ending in CRLF.

    Of KINDS: `reply` names the mails of `answers` in References, `names` has letters of other scripts everywhere,
    `nameless` no Message-ID, `large` more than a megabyte.
    """
    message = EmailMessage()
    message["From"] = "Zoë Müller <zoe@example.com>" if kind == "names" else "Ada <ada@example.com>"
    message["To"] = "山田 太郎 <taro@example.com>, Bo <bo@example.com>" if kind == "names" else "Bo <bo@example.com>"
    message["Subject"] = f"Größe {number} für Ёлка 🎄" if kind == "names" else f"Note {number}"
    message["Date"] = format_datetime(arrived_at(number))
    if kind != "nameless":
        message["Message-ID"] = letter_id(number)
    if kind == "reply" and answers:
        message["In-Reply-To"] = letter_id(answers[-1])
        message["References"] = " ".join(map(letter_id, answers))
    line = "sixty-four letters a line, over and over again, until it is large\n"
    message.set_content(f"This is note {number}, ünïque.\n" + line * (17_000 if kind == "large" else 1))
    if kind == "attachment":
        filename = f"Übersicht {number}.bin"
        message.add_attachment(b"\0\1\2" * 50, maintype="application", subtype="x-note", filename=filename)
    return message.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def letter_id(number: int) -> str:
    """The Message-ID of mail `number`."""
    return f"<note-{number}@example.com>"
