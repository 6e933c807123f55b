"""The sample mailbox of the demo: some three hundred mails of one invented person.

The same `now` gives the same bytes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import chain

from project.demo.sample.compose import Letter, text_part
from project.demo.sample.oddments import oddments
from project.demo.sample.people import OWNER, SampleMessage, content, local, person
from project.demo.sample.series import series
from project.demo.sample.threads import conversations, letters
from project.demo.store import Store

#: Whose mailbox it is: also the name to log in with.
OWNER_ADDRESS = OWNER.address
OWNER_NAME = OWNER.name

#: Mailboxes in the order they are made, with their SPECIAL-USE attribute; the rest appear with their mail.
FOLDERS: dict[str, str | None] = {
    "INBOX": None,
    "Sent": "\\Sent",
    "Drafts": "\\Drafts",
    "Trash": "\\Trash",
    "Junk": "\\Junk",
    "Archive": "\\Archive",
}


def sample_messages(now: datetime) -> list[SampleMessage]:
    """Return every mail of the sample mailbox, oldest first; all dates lie before `now` (aware)."""
    everything = chain(conversations(now), letters(now), series(now), oddments(now))
    return sorted((mail for mail in everything if mail.received < now), key=lambda mail: (mail.received, mail.raw))


def fill(store: Store, now: datetime) -> int:
    """Put the sample mailbox into a store; return how many mails it has."""
    for name, role in FOLDERS.items():
        mailbox = store.get(name) or store.create(name)
        mailbox.role = role
    messages = sample_messages(now)
    for message in messages:
        mailbox = store.get(message.folder) or store.create(message.folder)
        mailbox.append(message.raw, message.flags, message.received)
    return len(messages)


def new_mail(n: int, now: datetime | None = None) -> bytes:
    """Return the n-th mail (from 0) that arrives while the demo runs, sent at `now`.

    The texts come round again after a while, with other Message-IDs.
    """
    told = content("series")["arriving"]
    mail = told[n % len(told)]
    writer = person(mail["from"])
    sent = local((now or datetime.now(UTC)) - timedelta(seconds=1), writer)
    key = f"arriving {n} {sent.isoformat()}"
    return Letter(key, writer, [OWNER], mail["subject"], sent, text_part(mail["text"] + "\n")).raw()
