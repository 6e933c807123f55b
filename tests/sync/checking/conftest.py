"""A mirrored mailbox with a little of everything, and what planted differences are expected to be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest

from sync.checking.values import Difference, Kind
from sync.models import FolderMessage, Message
from tests.sync.conftest import Connected

WHEN = datetime(2024, 5, 17, 9, 30, tzinfo=UTC)
#: A folder below another, with letters that modified UTF-7 has to shift.
LETTERS = "Été & Co/Письма"


def mail(number: int, *, answers: int | None = None, attached: bytes = b"") -> bytes:
    """A small mail with a Message-ID of its own."""
    message = EmailMessage()
    message["From"], message["To"] = "Ada <ada@example.com>", "Bo <bo@example.com>"
    message["Subject"] = f"Note {number}"
    message["Message-ID"] = f"<note-{number}@example.com>"
    message["Date"] = "Fri, 17 May 2024 09:30:00 +0000"
    if answers is not None:
        message["In-Reply-To"] = f"<note-{answers}@example.com>"
    message.set_content(f"This is note {number}.\n")
    if attached:
        message.add_attachment(attached, maintype="application", subtype="pdf", filename="note.pdf")
    return message.as_bytes().replace(b"\n", b"\r\n")


@pytest.fixture
def filled(connected: Connected) -> Connected:
    """INBOX: five notes, the last three one thread; LETTERS: copies of two, and a large one."""
    server = connected.server
    for number in range(5):
        server.append("INBOX", mail(number, answers=number - 1 if number > 2 else None), [r"\Seen"][: number % 2], WHEN)
    server.create(LETTERS)
    server.copy("INBOX", server.uids("INBOX")[:2], LETTERS)
    server.append(LETTERS, mail(9, attached=bytes(range(256)) * 7000), [r"\Flagged", "$Junk"], WHEN)
    connected.mirror()
    return connected


@dataclass(frozen=True)
class Note:
    """A mirrored note of `filled`, as the tables have it."""

    message: Message
    copy: FolderMessage

    @property
    def uid(self) -> int:
        return int(self.copy.remote_id)


def note(connected: Connected, number: int, path: str = "INBOX") -> Note:
    """Find the copy of a note in a folder."""
    copy = FolderMessage.objects.select_related("message").get(
        folder=connected.folder(path), message__message_id_header=f"note-{number}@example.com"
    )
    return Note(copy.message, copy)


#: What identifies a difference in a test: kind, folder, UID, message id, type and id of another object.
Named = tuple[Kind, str | None, int | None, int | None, str | None, int | None]


def named(one: Difference) -> Named:
    """What a difference names."""
    return one.kind, one.folder, one.uid, one.message_id, one.object_type, one.object_id


def expected(
    kind: Kind,
    folder: str | None = None,
    *,
    uid: int | None = None,
    message: int | None = None,
    of: tuple[str, int] | None = None,
) -> Named:
    """What a planted difference is to be named by."""
    return kind, folder, uid, message, *(of or (None, None))
