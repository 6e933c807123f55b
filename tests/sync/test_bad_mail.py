"""Mail as it should not be: mirrored to the byte, marked, and served by the API."""

from __future__ import annotations

import base64
import gc
import hashlib
import random
import re
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from accounts.keys import create_api_key
from accounts.services import default_application
from sync.models import Message
from sync.services import sessions
from tests.api.client import Api, content
from tests.servers.dovecot import Dovecot
from tests.sync.audit import Audit
from tests.sync.conftest import Connected, connect
from tests.sync.demo import connected_demo

WHEN = datetime(2024, 5, 17, 9, 30, tzinfo=UTC)


def mail(subject: str, *fields: bytes, body: bytes = b"Hello.\r\n") -> bytes:
    """A mail with these header fields beside the usual ones."""
    head = [b"From: Ada <ada@example.com>", b"Subject: " + subject.encode(), *fields]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def many_parts(count: int) -> bytes:
    part = b"--b\r\nContent-Type: application/octet-stream; name=%d.bin\r\n\r\n%d\r\n"
    body = b"".join(part % (number, number) for number in range(count)) + b"--b--\r\n"
    return mail("Many parts", b"MIME-Version: 1.0", b'Content-Type: multipart/mixed; boundary="b"', body=body)


RECIPIENTS = b"To: " + b",\r\n ".join(b"Someone %d <someone-%d@example.org>" % (n, n) for n in range(3200))
# in UTF-7, of which alone Python makes lone surrogates
SURROGATES = (
    b"MIME-Version: 1.0",
    b"To: =?utf-7?q?Bo_+2AA-?= <bo@example.com>",
    b'Content-Type: multipart/mixed; boundary="b"',
)
ATTACHED = (
    b"--b\r\nContent-Type: text/plain; charset=utf-7\r\n\r\nlone +2AA- surrogate\r\n"
    b"--b\r\nContent-Type: application/octet-stream\r\n"
    b"Content-Disposition: attachment; filename*=utf-7''lone%2B2AA-%00.bin\r\n\r\nhi\r\n--b--\r\n"
)

#: name -> the mail, and marks that it must carry.
BAD: dict[str, tuple[bytes, set[str]]] = {
    "lone surrogates": (mail("=?utf-7?q?lone_+2AA-_one?=", *SURROGATES, body=ATTACHED), {"replaced-characters"}),
    "surrogates in UTF-8": (mail("=?utf-8?q?=ED=A0=80?=", body=b"\xed\xa0\x80\r\n"), {"wrong-charset"}),
    "no headers": (b"\r\nJust a line.\r\n", {"no-headers"}),
    "10,000 parts": (many_parts(10_000), {"too-many-parts"}),
    "3,200 recipients": (mail("To all", RECIPIENTS), set()),
    "year 0": (mail("Long ago", b"Date: Fri, 17 May 0000 09:30:00 +0000"), {"bad-date"}),
    "year 9999": (mail("Far away", b"Date: Fri, 31 Dec 9999 23:59:59 -1200"), {"bad-date"}),
    "a line of 1,000,000 bytes": (mail("Long line", body=b"x" * 1_000_000 + b"\r\n"), set()),
    "a header of 1,000,000 bytes": (mail("Long header", b"X-Long: " + b"y" * 1_000_000), set()),
}
#: What Dovecot does not keep as it is: it makes \x80 of NUL, and takes no empty mail.
BAD_FOR_DEMO: dict[str, tuple[bytes, set[str]]] = {
    "NUL bytes": (mail("N\0UL", b"To: \0 <bo\0@example.com>", body=b"a\0b\r\n\0\0\r\n"), {"nul-bytes"}),
    "empty": (b"", {"no-headers"}),
    "a single NUL": (b"\0", {"no-headers", "nul-bytes"}),
    "bare line ends": (b"Subject: bare\n\nlines\n", set()),
}


@pytest.fixture
def api(transactional_db: None) -> Api:
    return Api(create_api_key(application=default_application(), name="tests"), Client())


@pytest.fixture(params=["dovecot", "demo"])
def filled(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[tuple[Connected, dict[str, int]]]:
    """A mailbox of bad mails, mirrored; name -> UID."""
    if request.param == "demo":
        with connected_demo() as (demo, connected):
            named = {name: demo.append("INBOX", raw, [], WHEN) for name, (raw, _) in (BAD | BAD_FOR_DEMO).items()}
            connected.mirror()
            yield connected, named
        return
    server: Dovecot = request.getfixturevalue("dovecot")
    connected = connect(server.new_user())
    named = {name: connected.server.append("INBOX", raw, [], WHEN) for name, (raw, _) in BAD.items()}
    connected.mirror()
    yield connected, named
    sessions.close_idle(older_than=0)
    connected.server.close()


def test_bad_mail_is_mirrored_marked_and_served(filled: tuple[Connected, dict[str, int]], api: Api) -> None:
    connected, named = filled
    Audit(connected.account_id, connected.server).check()
    path = f"/v3/grants/{connected.account_id}/messages"
    for name, uid in named.items():
        raw, marks = (BAD | BAD_FOR_DEMO)[name]
        message = Message.objects.get(folder_messages__remote_id=str(uid), account_id=connected.account_id)
        assert marks <= set(message.defects), (name, message.defects)
        assert message.date == WHEN, name
        served = api.get(f"{path}/{message.pk}")["data"]
        assert served["date"] == int(WHEN.timestamp()), name
        assert content(api.call("GET", f"{path}/{message.pk}/raw")) == raw, name
        mime = api.get(f"{path}/{message.pk}", {"fields": "raw_mime"})["data"]["raw_mime"]
        assert base64.urlsafe_b64decode(mime) == raw, name
        api.get(f"{path}/{message.pk}", {"fields": "include_headers"})
        for one in served["attachments"][:3]:
            download = f"/v3/grants/{connected.account_id}/attachments/{one['id']}/download"
            assert len(content(api.call("GET", download, {"message_id": message.pk}))) == one["size"], name
    listed = api.get(path, {"limit": 50})["data"]
    assert len(listed) == len(named)


def test_all_recipients_and_bounded_parts_are_told(filled: tuple[Connected, dict[str, int]], api: Api) -> None:
    connected, _ = filled
    path = f"/v3/grants/{connected.account_id}/messages"
    by_subject: dict[str, dict[str, Any]] = {one["subject"]: one for one in api.get(path, {"limit": 50})["data"]}
    told = by_subject["To all"]["to"]
    assert len(told) == 3200
    assert told[-1] == {"name": "Someone 3199", "email": "someone-3199@example.org"}
    assert 100 <= len(by_subject["Many parts"]["attachments"]) < 10_000
    (lone,) = [one for subject, one in by_subject.items() if subject.startswith("lone")]
    assert "\ufffd" in lone["subject"]
    assert lone["to"] == [{"name": "Bo \ufffd", "email": "bo@example.com"}]
    assert "\ufffd" in lone["attachments"][0]["filename"]


def with_attachment(megabytes: int) -> tuple[bytes, str]:
    """A mail with an attachment that does not compress; returns the SHA-256 of the attachment too."""
    dice, digest = random.Random(60), hashlib.sha256()
    pieces = [
        mail("Film", b"MIME-Version: 1.0", b'Content-Type: multipart/mixed; boundary="b"', body=b"--b\r\n\r\nSee.\r\n"),
        b"--b\r\nContent-Type: video/mp4\r\nContent-Transfer-Encoding: base64\r\n",
        b'Content-Disposition: attachment; filename="film.mp4"\r\n\r\n',
    ]
    for _ in range(megabytes):
        # whole lines
        piece = dice.randbytes(57 * 18_396)
        digest.update(piece)
        pieces.append(base64.encodebytes(piece).replace(b"\n", b"\r\n"))
    return b"".join([*pieces, b"--b--\r\n"]), digest.hexdigest()


def resident(name: str) -> int:
    """Kilobytes of this process: VmRSS now, VmHWM at most since `forget_peak`."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


def forget_peak() -> int:
    """Begin to look for a new peak; return the kilobytes of now."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


def sha256_of(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def test_attachment_of_60_megabytes_is_mirrored_and_served_in_flat_memory(
    dovecot: Dovecot, transactional_db: None, api: Api
) -> None:
    connected = connect(dovecot.new_user())
    raw, attachment = with_attachment(60)
    whole, size = hashlib.sha256(raw).hexdigest(), len(raw)
    connected.server.append("INBOX", raw, [], WHEN)
    del raw
    connected.server.close()
    before, began = forget_peak(), time.process_time()
    connected.mirror()
    sessions.close_idle(older_than=0)
    assert resident("VmHWM") - before < 100 * 1024
    assert time.process_time() - began < 20
    message = Message.objects.get(account_id=connected.account_id)
    assert (bytes(message.sha256).hex(), message.size) == (whole, size)
    path = f"/v3/grants/{connected.account_id}"
    (shown,) = api.get(f"{path}/messages/{message.pk}")["data"]["attachments"]
    assert (shown["filename"], shown["size"]) == ("film.mp4", 60 * 57 * 18_396)
    before = forget_peak()
    assert sha256_of(streamed(api, f"{path}/messages/{message.pk}/raw")) == whole
    download = f"{path}/attachments/{shown['id']}/download"
    assert sha256_of(streamed(api, download, {"message_id": message.pk})) == attachment
    assert resident("VmHWM") - before < 50 * 1024


def streamed(api: Api, path: str, query: Any = None) -> Iterable[bytes]:
    response = api.call("GET", path, query)
    assert response.status_code == 200
    assert response.streaming
    pieces: Iterable[bytes] = response.streaming_content  # type: ignore[attr-defined]
    return pieces
