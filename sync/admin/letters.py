"""The messages of an account as a list: of a folder or thread, or those whose subject or sender holds some words."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from sync.admin.finding import WINDOW, Place, Position, find_messages
from sync.admin.opened import Opened
from sync.models import Folder, Message


@dataclass(frozen=True, slots=True)
class Line:
    """A message of a list."""

    message: Message
    sender: str
    folders: str


def page(request: HttpRequest, opened: Opened) -> HttpResponseBase:
    """Show a page: `folder`, `thread`, `q` choose the messages, `before` is where the page goes on."""
    words = request.GET.get("q", "").strip().replace("\x00", "")
    folder_id, thread_id = _id(request, "folder"), _id(request, "thread")
    before = Position.parse(request.GET.get("before", ""))
    found = find_messages(Place(opened.id, folder_id, thread_id), words=words, before=before)
    folders = list(Folder.objects.filter(account_id=opened.id).order_by("path"))
    paths = {folder.pk: folder.path for folder in folders}
    kept = {"q": words, "folder": folder_id or "", "thread": thread_id or ""}
    kept = {name: value for name, value in kept.items() if value}
    return opened.page(
        request,
        "messages",
        title=f"Messages of {opened.grant.email}",
        lines=[Line(one, sender(one), places(one, paths)) for one in found.messages],
        folders=folders,
        folder_id=folder_id,
        thread_id=thread_id,
        words=words,
        searched_to=found.searched_to,
        window=WINDOW,
        newest=f"?{urlencode(kept)}" if before else None,
        older=f"?{urlencode({**kept, 'before': str(found.next)})}" if found.next else None,
    )


def _id(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return int(text) if text.isdecimal() and len(text) <= 19 else None


def sender(message: Message) -> str:
    """Tell who wrote a message, by name where it has one."""
    return ", ".join(one["name"] or one["email"] for one in message.from_addresses) or "(nobody)"


def places(message: Message, paths: dict[int, str]) -> str:
    """Tell where the copies of a message are."""
    return ", ".join(paths.get(one, "?") for one in message.folder_ids) or "nowhere: it is about to go"
