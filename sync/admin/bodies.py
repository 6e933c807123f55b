"""One message: what it is, for everybody who may see messages; what it says, only after that was recorded."""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase

from accounts.audit import record_staff_action
from accounts.models import StaffAction
from project.postgres import give_back
from project.shards import on_shard
from sync.admin.letters import places
from sync.admin.opened import Opened
from sync.blobs import BlobMissing, open_blob, read_bodies
from sync.models import Folder, FolderMessage, Message

#: Bytes of a raw mail in which the end of its header block is looked for.
HEADER_LIMIT = 65_536
#: What a mail's HTML may do, in a frame without scripts, forms and origin: style itself, and show what it carries.
MAIL_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
#: Stands before a mail's HTML. Links ask for a new window, which the sandbox refuses: the mail stays where it is.
MAIL_PREAMBLE = f'<meta http-equiv="Content-Security-Policy" content="{MAIL_POLICY}"><base target="_blank">'
#: The page around it: our own scripts and styles. What a frame holds inherits it, whatever the mail says.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def message_page(request: HttpRequest, opened: Opened, *, message_id: int) -> HttpResponseBase:
    """Show what a message is: addresses, flags, folders, headers, parts, a snippet; not its body."""
    message = _find(opened, message_id)
    if message is None:
        return _gone(request, opened, message_id)
    paths = dict(Folder.objects.filter(account_id=opened.id).values_list("pk", "path"))
    copies = FolderMessage.objects.filter(message_id=message_id).order_by("pk")
    headers = ("from_addresses", "to_addresses", "cc_addresses", "bcc_addresses", "reply_to_addresses")
    return opened.page(
        request,
        "message",
        title=message.subject or "(no subject)",
        message=message,
        sha256=bytes(message.sha256).hex(),
        folders=places(message, paths),
        copies=[(paths.get(copy.folder_id, "?"), copy) for copy in copies],
        addresses=[
            (name.removesuffix("_addresses").replace("_", "-").title(), found)
            for name in headers
            if (found := getattr(message, name))
        ],
        parts=list(message.parts.order_by("position")),
        header_block=header_block(message),
    )


def _find(opened: Opened, message_id: int) -> Message | None:
    return Message.objects.filter(account_id=opened.id, pk=message_id).first()


def _gone(request: HttpRequest, opened: Opened, message_id: int) -> HttpResponseBase:
    messages.error(
        request,
        f"Message {message_id} is not in this mailbox (any more). The transaction log tells when it was deleted.",
    )
    return HttpResponseRedirect(opened.url("sync_messages"))


def header_block(message: Message) -> str:
    """Return the header block as it stands in the raw mail; a text that says so where the raw mail is missing."""
    try:
        begin = open_blob(message.account_id, bytes(message.sha256), message.size).read(0, HEADER_LIMIT)
    except BlobMissing as error:
        return f"Not to be read: {error}. The database was damaged or restored in part: see manage.py check_mirror."
    ends = [at for end in (b"\r\n\r\n", b"\n\n") if (at := begin.find(end)) >= 0]
    block = begin[: min(ends)] if ends else begin
    return block.decode("utf-8", "replace").replace("\r\n", "\n").replace("\x00", "\ufffd")


def body_page(request: HttpRequest, opened: Opened, *, message_id: int) -> HttpResponseBase:
    """Record that the body is opened, then show it. Only by POST: a followed link or a reload opens nothing."""
    message = _find_recorded(request, opened, message_id, StaffAction.OPENED_BODY)
    if not isinstance(message, Message):
        return message
    text, html = read_bodies([message_id]).get(message_id, (None, None))
    response = opened.page(
        request,
        "body",
        title=message.subject or "(no subject)",
        message=message,
        text=text,
        framed=None if html is None else MAIL_PREAMBLE + html,
    )
    response.headers["Content-Security-Policy"] = PAGE_POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-DNS-Prefetch-Control"] = "off"
    response.headers["Cache-Control"] = "no-store"
    return response


def download(request: HttpRequest, opened: Opened, *, message_id: int) -> HttpResponseBase:
    """Record that the mail is downloaded, then send its raw MIME, byte for byte. Only by POST."""
    message = _find_recorded(request, opened, message_id, StaffAction.DOWNLOADED_MAIL)
    if not isinstance(message, Message):
        return message
    response = StreamingHttpResponse(_raw_pieces(message), content_type="message/rfc822")
    response.headers["Content-Length"] = str(message.size)
    response.headers["Content-Disposition"] = f'attachment; filename="message-{message.pk}.eml"'
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response.headers["Cache-Control"] = "no-store"
    return response


def _find_recorded(
    request: HttpRequest, opened: Opened, message_id: int, action: StaffAction
) -> Message | HttpResponseBase:
    """Return the message once it is recorded that staff open it; else the answer to give instead."""
    message = _find(opened, message_id)
    if message is None:
        return _gone(request, opened, message_id)
    if request.method != "POST":
        return HttpResponseRedirect(opened.url("sync_message", message_id))
    record_staff_action(request, action, account_id=message.account_id, object_type="message", object_id=message.pk)
    return message


def _raw_pieces(message: Message) -> Iterator[bytes]:
    """Yield the raw mail, a piece in memory at a time; no connection is held while one is sent."""
    pieces = open_blob(message.account_id, bytes(message.sha256), message.size).pieces()
    while True:
        # what is sent after the view has returned runs outside its `on_shard`
        with on_shard(message.account_id):
            piece = next(pieces, None)
        give_back()
        if piece is None:
            return
        yield piece
