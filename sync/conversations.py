"""Which mails belong together: decided from message ids alone, in whatever order the mails come.

Pure: the caller looks up what is known (ThreadKey) and carries out what is decided. Subjects never join anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

#: Ids that one message may bring; the nearest ancestors are kept.
MAX_REFERENCES = 100


class Threaded(Protocol):
    """What ties a message to others; a ParsedMessage has it."""

    @property
    def message_id(self) -> str | None: ...
    @property
    def in_reply_to(self) -> tuple[str, ...]: ...
    @property
    def references(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class ThreadDecision:
    """Where a message goes. All `ids` lead to that thread from now on, and so do all keys of `absorbed` threads."""

    #: The thread to join; None: a new one.
    thread: int | None
    #: Younger threads that turn out to be the same conversation: merged into `thread`, then gone.
    absorbed: tuple[int, ...]
    #: Ids that no thread holds yet, to be stored as its keys.
    new_ids: tuple[str, ...]


def find_thread_ids(message: Threaded) -> tuple[str, ...]:
    """Return the message ids that tie a message to its conversation, its own first.

    Without angle brackets, case kept, doubles dropped; at most MAX_REFERENCES, nearest ancestors kept.
    A message without a usable id yields only its ancestors. Raises nothing.
    Source: RFC 5322 3.6.4; J. Zawinski, "message threading".
    """
    own = (message.message_id,) if message.message_id else ()
    # References go from the root down to the parent: the nearest stand last.
    ancestors = (*message.in_reply_to, *reversed(message.references))
    return tuple(dict.fromkeys((*own, *ancestors)))[:MAX_REFERENCES]


def decide_thread(known: Mapping[str, int], ids: Iterable[str]) -> ThreadDecision:
    """Decide where a message with these ids goes, given the threads that hold some of them.

    No known id: a new thread. One thread: it joins. Several: all merge into the oldest, the one with the lowest id.
    Messages so joined form the same groups in whatever order they come.
    """
    ids = tuple(dict.fromkeys(ids))
    threads = sorted({known[each] for each in ids if each in known})
    return ThreadDecision(
        thread=threads[0] if threads else None,
        absorbed=tuple(threads[1:]),
        new_ids=tuple(each for each in ids if each not in known),
    )
