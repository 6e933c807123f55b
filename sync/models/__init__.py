"""The tables of the mirror."""

from sync.models.mail import (
    Blob,
    Body,
    Folder,
    FolderMessage,
    Message,
    Part,
    RememberedMessage,
    Thread,
    ThreadKey,
)
from sync.models.state import AccountSync, Removal, SyncState

__all__ = [
    "AccountSync",
    "Blob",
    "Body",
    "Folder",
    "FolderMessage",
    "Message",
    "Part",
    "RememberedMessage",
    "Removal",
    "SyncState",
    "Thread",
    "ThreadKey",
]
