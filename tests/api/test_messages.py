"""What a message, a draft and a thread are on the wire; raw MIME and attachments, byte for byte."""

from __future__ import annotations

import base64
import hashlib
import json
import os

import pytest

from api.streams import _Window
from project.postgres import pool_states
from project.shards import alias_at_hand, on_shard
from sync.blobs import PIECE, open_blob
from sync.models import Message, Part
from tests.api.client import Api, content
from tests.api.conftest import ALIASES
from tests.api.mailbox import EPOCH, Mailroom, mail

pytestmark = pytest.mark.django_db(databases=ALIASES)


def test_a_message_is_shown_whole(api: Api, room: Mailroom) -> None:
    raw = mail(
        "Grüße",
        Cc="carol@example.org, Dan <dan@example.org>",
        Reply_To="list@example.org",
        In_Reply_To="<parent@x>",
        Date="Thu, 01 Jan 2026 10:00:00 +0200",
        html="<p>Hi <b>there</b></p>",
    )
    stored = room.add(raw, "INBOX", "Archive", flags=("\\Flagged", "$Forwarded"))
    (shown,) = api.get(f"{room.path}/messages")["data"]
    created = shown.pop("created_at")
    assert isinstance(created, int)
    assert shown == {
        "id": str(stored.pk),
        "grant_id": str(room.id),
        "object": "message",
        "thread_id": str(stored.thread_id),
        "subject": "Grüße",
        "from": [{"name": "Ada", "email": "ada@example.org"}],
        "to": [{"name": "Bob", "email": "bob@example.org"}],
        "cc": [{"name": "", "email": "carol@example.org"}, {"name": "Dan", "email": "dan@example.org"}],
        "bcc": [],
        "reply_to": [{"name": "", "email": "list@example.org"}],
        "date": int(EPOCH.timestamp()) + 60,
        "header_date": 1767254400,
        "unread": True,
        "starred": True,
        "flags": ["$Forwarded", "\\Flagged"],
        "folders": [str(room.folder("INBOX").pk), str(room.folder("Archive").pk)],
        "copies": 2,
        "snippet": "Hi there.",
        "body_pending": False,
        "body": "<p>Hi <b>there</b></p>\n",
        "attachments": [],
        "in_reply_to": "parent@x",
        "size": len(raw),
    }


def test_a_single_message_has_its_text_too(api: Api, room: Mailroom) -> None:
    both = room.add(mail("both", text="plain words\n", html="<p>rich</p>"))
    html = room.add(
        mail("html", Content_Type="text/html").replace(b"Content-Type: text/plain", b"Content-Type: text/html")
    )
    empty = room.add(b"Subject: nothing\r\n\r\n")
    texts = [api.get(f"{room.path}/messages/{one.pk}")["data"]["body_text"] for one in (both, html, empty)]
    assert [text.strip() for text in texts] == ["plain words", "Hi there.", ""]
    assert "body_text" not in api.get(f"{room.path}/messages")["data"][0]


def test_a_message_without_anything_is_served(api: Api, room: Mailroom) -> None:
    room.add(b"")
    (shown,) = api.get(f"{room.path}/messages")["data"]
    assert (shown["subject"], shown["body"], shown["from"], shown["in_reply_to"]) == ("", "", [], None)


@pytest.mark.parametrize(("mine", "other"), [("messages", "drafts"), ("drafts", "messages")])
def test_messages_and_drafts_are_found_under_their_own_path_alone(
    api: Api, room: Mailroom, mine: str, other: str
) -> None:
    stored = room.add(mail(), flags=("\\Draft",) if mine == "drafts" else ())
    assert api.get(f"{room.path}/{mine}/{stored.pk}")["data"]["object"] == mine[:-1]
    api.call("GET", f"{room.path}/{mine}/{stored.pk}/raw")
    for path in (f"{other}/{stored.pk}", f"{other}/{stored.pk}/raw", f"{mine}/1", f"{mine}/x", f"{mine}/{2**70}"):
        assert api.error(f"{room.path}/{path}", status=404)["type"] == "not_found_error"
    assert api.get(f"{room.path}/{other}")["data"] == []


def test_a_draft_that_becomes_a_message_changes_its_path(api: Api, room: Mailroom) -> None:
    stored = room.add(mail(), flags=("\\Draft",))
    with on_shard(room.id):
        Message.objects.filter(pk=stored.pk).update(is_draft=False)
    assert api.get(f"{room.path}/messages/{stored.pk}")["data"]["object"] == "message"
    api.error(f"{room.path}/drafts/{stored.pk}", status=404)


def test_headers_are_shown_in_order_with_their_doubles(api: Api, room: Mailroom) -> None:
    stored = room.add(
        b"Received: one\r\nReceived: two\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\nMessage-ID: <a@x>\r\n"
        b"References: <b@x>\r\nX-Long: a\r\n b\r\n\r\nbody: no header\r\n"
    )
    for path in (f"{room.path}/messages", f"{room.path}/messages/{stored.pk}"):
        found = api.get(path, {"fields": "include_headers"})["data"]
        shown = found[0] if isinstance(found, list) else found
        named = [(one["name"], one["value"]) for one in shown["headers"]]
        assert named[:3] == [("Received", "one"), ("Received", "two"), ("Subject", "café")]
        assert len(named) == 6
        assert shown["subject"] == "café"
        found = api.get(path, {"fields": "include_basic_headers"})["data"]
        basic = (found[0] if isinstance(found, list) else found)["headers"]
        assert [one["name"] for one in basic] == ["Message-ID", "References"]
        api.get(path, {"fields": "include_tracking_options"})
        assert "headers" not in str(api.get(path, {"fields": "standard"})["data"])


def test_raw_mime_comes_alone_and_whole(api: Api, room: Mailroom) -> None:
    raws = [mail(f"{n}", text="x" * (n * 1000 + n)) for n in range(4)] + [mail("large", text="é\n" * 900_000)]
    stored = [room.add(raw) for raw in raws]
    page = api.get(f"{room.path}/messages", {"fields": "raw_mime", "limit": 4})
    assert page["next_cursor"]
    rest = api.get(f"{room.path}/messages", {"fields": "raw_mime", "page_token": page["next_cursor"]})
    shown = page["data"] + rest["data"]
    assert [base64.urlsafe_b64decode(one["raw_mime"]) for one in shown] == raws[::-1]
    assert set(shown[0]) == {"id", "grant_id", "object", "raw_mime"}
    single = api.get(f"{room.path}/messages/{stored[1].pk}", {"fields": "raw_mime"})["data"]
    assert base64.urlsafe_b64decode(single["raw_mime"]) == raws[1]
    assert "+" not in single["raw_mime"] + shown[0]["raw_mime"]


@pytest.mark.parametrize("size", [0, 1, 1000, PIECE, PIECE + 1, 3 * PIECE + 17])
def test_raw_is_byte_identical_whole_and_in_ranges(api: Api, room: Mailroom, size: int) -> None:
    raw = (b"Subject: x\r\n\r\n" + os.urandom(size))[:size] if size else b""
    stored = room.add(raw)
    path = f"{room.path}/messages/{stored.pk}/raw"
    whole = api.call("GET", path)
    assert whole.headers["Content-Type"] == "message/rfc822"
    assert whole.headers["Content-Length"] == str(size)
    assert whole.headers["Accept-Ranges"] == "bytes"
    assert content(whole) == raw
    spans = [(0, 0), (0, size - 1), (size // 2, size), (size - 1, size + 100), (PIECE - 3, PIECE + 3)]
    for begin, end in [span for span in spans if 0 <= span[0] < size and span[1] >= span[0]]:
        part = api.call("GET", path, HTTP_RANGE=f"bytes={begin}-{end}")
        wanted = raw[begin : end + 1]
        assert content(part) == wanted
        whole_asked = len(wanted) == size
        assert part.status_code == (200 if whole_asked else 206)
        if not whole_asked:
            assert part.headers["Content-Range"] == f"bytes {begin}-{min(end, size - 1)}/{size}"
        assert part.headers["Content-Length"] == str(len(wanted))
    if size > 10:
        assert content(api.call("GET", path, HTTP_RANGE="bytes=-10")) == raw[-10:]
        assert content(api.call("GET", path, HTTP_RANGE=f"bytes={size - 5}-")) == raw[-5:]


def test_ranges_outside_are_416_and_malformed_ones_are_ignored(api: Api, room: Mailroom) -> None:
    raw = mail()
    path = f"{room.path}/messages/{room.add(raw).pk}/raw"
    for wanted in (f"bytes={len(raw)}-", f"bytes={len(raw) + 5}-{len(raw) + 9}", "bytes=-0"):
        response = api.call("GET", path, HTTP_RANGE=wanted)
        assert response.status_code == 416
        assert response.headers["Content-Range"] == f"bytes */{len(raw)}"
        assert json.loads(content(response))["error"]["type"] == "range_not_satisfiable"
    for ignored in ("lines=1-2", "bytes=a-b", "bytes=5-2", "bytes=0-1,4-5", "bytes=-", "bytes"):
        response = api.call("GET", path, HTTP_RANGE=ignored)
        assert (response.status_code, content(response)) == (200, raw)
    etag = api.call("GET", path).headers["ETag"]
    assert api.call("GET", path, HTTP_RANGE="bytes=0-3", HTTP_IF_RANGE=etag).status_code == 206
    assert api.call("GET", path, HTTP_RANGE="bytes=0-3", HTTP_IF_RANGE='"other"').status_code == 200


def test_attachments_are_described_and_downloaded(api: Api, room: Mailroom) -> None:
    big = os.urandom(3 * PIECE + 5)
    stored = room.add(
        mail(
            "x",
            attachments=[
                ("ä b.pdf", "application/pdf", big),
                ("e.txt", "text/plain", b""),
                ("f.bin", "image/png", b"png"),
            ],
        )
    )
    (shown,) = api.get(f"{room.path}/messages")["data"]
    assert [one["filename"] for one in shown["attachments"]] == ["ä b.pdf", "e.txt", "f.bin"]
    for one, wanted in zip(shown["attachments"], [big, b"", b"png"], strict=True):
        path, query = f"{room.path}/attachments/{one['id']}", {"message_id": stored.pk}
        assert api.get(path, query)["data"] == one
        assert one["size"] == len(wanted)
        response = api.call("GET", f"{path}/download", query)
        assert response.status_code == 200
        assert hashlib.sha256(content(response)).digest() == hashlib.sha256(wanted).digest()
        assert response.headers["Content-Length"] == str(len(wanted))
        assert response.headers["Content-Type"] == one["content_type"]


@pytest.mark.parametrize(
    ("filename", "disposition"),
    [
        ("../../etc/passwd", 'attachment; filename="_.._etc_passwd"'),
        ('a"b.txt', 'attachment; filename="a\\"b.txt"'),
        ("a\r\nSet-Cookie: x", 'attachment; filename="a__Set-Cookie: x"'),
        ("日本.txt", "attachment; filename*=utf-8''%E6%97%A5%E6%9C%AC.txt"),
        ("...", 'attachment; filename="attachment"'),
    ],
)
def test_a_download_cannot_choose_its_place_or_headers(
    api: Api, room: Mailroom, filename: str, disposition: str
) -> None:
    stored = room.add(mail("x", attachments=[("x", "text/html", b"<script>alert(1)</script>")]))
    with on_shard(room.id):
        part = Part.objects.get(message_id=stored.pk)
        Part.objects.filter(pk=part.pk).update(filename=filename, content_type="text/html\r\nX-Evil: 1")
    response = api.call("GET", f"{room.path}/attachments/{part.pk}/download", {"message_id": stored.pk})
    assert response.headers["Content-Disposition"] == disposition
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response.headers["Content-Security-Policy"]


def test_an_attachment_needs_its_own_message(api: Api, room: Mailroom) -> None:
    one = room.add(mail("x", attachments=[("x", "text/plain", b"x")]))
    other = room.add(mail("other"))
    draft = room.add(mail("draft", attachments=[("y", "text/plain", b"y")]), flags=("\\Draft",))
    with on_shard(room.id):
        part, drafted = (Part.objects.get(message_id=message.pk) for message in (one, draft))
    path = f"{room.path}/attachments/{part.pk}"
    for tail in ("", "/download"):
        assert "message_id" in api.error(path + tail, status=400)["message"]
        for wrong in (other.pk, "x", 7):
            api.error(path + tail, {"message_id": wrong}, status=404)
    assert api.get(f"{room.path}/attachments/{drafted.pk}", {"message_id": draft.pk})["data"]["filename"] == "y"


def test_uuencoded_attachments_are_found_in_a_large_mail(api: Api, room: Mailroom) -> None:
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + b"text\r\n" * 200_000
    part = (
        b"--b\r\nContent-Type: application/x-thing; name=a.bin\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\n"
        + b"begin 644 a.bin\r\n#0V%T\r\n`\r\nend\r\n--b--\r\n"
    )
    stored = room.add(head + part)
    (shown,) = api.get(f"{room.path}/messages")["data"][0]["attachments"]
    response = api.call("GET", f"{room.path}/attachments/{shown['id']}/download", {"message_id": stored.pk})
    assert content(response) == b"Cat"


def test_a_window_reads_a_blob_as_if_it_were_bytes(room: Mailroom) -> None:
    raw = os.urandom(2 * PIECE + 100) + b"needle" + os.urandom(100)
    raw = raw[: PIECE - 3] + b"needle" + raw[PIECE + 3 :]
    stored = room.add(raw)
    with on_shard(room.id):
        window = _Window(open_blob(room.id, bytes(stored.sha256), len(raw)))
        assert len(window) == len(raw)
        for begin, end in ((0, 10), (PIECE - 5, PIECE + 5), (2 * PIECE, len(raw) + 50), (7, 7), (0, len(raw))):
            assert window[begin:end] == raw[begin:end]
        assert window.find(b"needle") == PIECE - 3
        assert window.find(b"needle", PIECE) == raw.find(b"needle", PIECE)
        assert window.find(b"needle", 0, PIECE) == -1
        assert window.find(b"absent") == -1


def test_a_thread_shows_its_messages_and_drafts(api: Api, room: Mailroom) -> None:
    first = room.add(mail("Plan", Message_ID="<a@x>", Cc="Carol <carol@example.org>"), "INBOX", flags=("\\Seen",))
    reply = room.add(
        mail("Re: Plan", In_Reply_To="<a@x>", From="Bob <BOB@example.org>", attachments=[("a", "text/plain", b"a")]),
        "Archive",
    )
    draft = room.add(mail("Re: Plan", In_Reply_To="<a@x>", text="last words\n"), "Drafts", flags=("\\Draft",))
    (thread,) = api.get(f"{room.path}/threads")["data"]
    assert thread == api.get(f"{room.path}/threads/{first.thread_id}")["data"]
    assert thread["message_ids"] == [str(first.pk), str(reply.pk)]
    assert thread["draft_ids"] == [str(draft.pk)]
    assert thread["subject"] == "Plan"
    assert thread["snippet"] == "last words"
    assert [one["email"] for one in thread["participants"]] == [
        "ada@example.org",
        "bob@example.org",
        "carol@example.org",
    ]
    assert (thread["unread"], thread["starred"], thread["has_drafts"], thread["has_attachments"]) == (
        True, False, True, True,
    )  # fmt: skip
    assert thread["folders"] == [str(room.folder(path).pk) for path in ("INBOX", "Archive", "Drafts")]
    assert thread["earliest_message_date"] == int(first.date.timestamp())
    newest = thread["latest_draft_or_message"]
    assert (newest["id"], newest["object"], newest["body"]) == (str(draft.pk), "draft", "last words\n")
    api.error(f"{room.path}/threads/1", status=404)


@pytest.mark.django_db(transaction=True, databases=ALIASES)
@pytest.mark.parametrize("tail", ["/raw", "?fields=raw_mime"])
def test_no_database_connection_is_held_while_a_mail_is_sent(api: Api, room: Mailroom, tail: str) -> None:
    stored = room.add(mail("x", text="y" * 3 * PIECE))
    path, _, query = f"{room.path}/messages/{stored.pk}{tail}".partition("?")
    response = api.call("GET", path, query)
    pieces = iter(response.streaming_content)  # type: ignore[attr-defined]
    for _ in range(3):
        assert next(pieces)
        assert sum(state.lent for state in pool_states().values()) == 0
    assert alias_at_hand() == "default"
    response.close()
