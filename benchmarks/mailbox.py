"""A mailbox to measure with: the same messages each time, in the mix of an office worker's mail.

Sizes and kinds follow what peers were measured with: 28 % plain text, 26 % text and HTML, 12 % newsletters, 13 % with
attachments, the rest inline images, old charsets, invitations, bounces, abuse reports and broken mail. Half of the
bytes of attachments are random, as JPEG and ZIP are for a compressor; the other half is text of some kind.
"""

from __future__ import annotations

import base64
import itertools
import quopri
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

SEED = 20240229
#: Half of all messages are in the first folder.
FOLDERS = (
    "INBOX",
    "Sent",
    "Drafts",
    "Trash",
    "Junk",
    "Archive",
    "Projects",
    "Projects/Harbour",
    "Projects/Harbour/Offers",
    "Customers",
    "Customers/Åland",
    "Lists",
)
NEWEST = datetime(2026, 6, 30, 18, 0, tzinfo=UTC)
#: How often each kind comes, in a hundred.
MIX = (
    ("plain", 28),
    ("alternative", 26),
    ("newsletter", 12),
    ("attachment", 13),
    ("inline", 7),
    ("charset", 5),
    ("invitation", 3),
    ("bounce", 2),
    ("report", 1),
    ("broken", 3),
)
REPLIES = 0.35
SYLLABLES = ("ka", "lo", "mi", "ne", "ra", "to", "su", "ve", "di", "pa", "en", "or", "al", "is", "un", "ter", "gan")


@dataclass(frozen=True, slots=True)
class Mail:
    """One message, and where it lies."""

    folder: str
    raw: bytes
    flags: tuple[str, ...]
    date: datetime


class Writer:
    """Writes messages from one source of chance: the same ones from the same seed."""

    def __init__(self, seed: int = SEED) -> None:
        self.chance = random.Random(seed)
        words = sorted({"".join(self.chance.choices(SYLLABLES, k=self.chance.randint(1, 4))) for _ in range(5000)})
        self.chance.shuffle(words)
        self.words = words
        self.weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(words))))
        self.people = [f"{self.word().title()} {self.word().title()}" for _ in range(240)]
        #: (Message-ID, subject, References) of what can be replied to.
        self.open: list[tuple[str, str, str]] = []
        self.kinds: dict[str, Callable[[], tuple[str, bytes]]] = {
            "plain": self.plain,
            "alternative": self.alternative,
            "newsletter": self.newsletter,
            "attachment": self.attachment,
            "inline": self.inline,
            "charset": self.charset,
            "invitation": self.invitation,
            "bounce": self.bounce,
            "report": self.report,
            "broken": self.broken,
        }

    def mails(self, count: int) -> Iterator[Mail]:
        """Yield the messages, oldest first."""
        names, weights = zip(*MIX, strict=True)
        for number in range(count):
            kind = self.chance.choices(names, weights)[0]
            date = NEWEST - timedelta(minutes=11 * (count - number) + self.chance.randint(0, 10))
            folder = FOLDERS[0] if number % 2 == 0 else self.chance.choice(FOLDERS[1:])
            flags = [] if self.chance.random() < 0.2 else ["\\Seen"]
            flags += ["\\Flagged"] if self.chance.random() < 0.05 else []
            flags += ["\\Draft"] if folder == "Drafts" else []
            yield Mail(folder, self.mail(kind, number, date), tuple(flags), date)

    def mail(self, kind: str, number: int, date: datetime) -> bytes:
        head, body = self.kinds[kind]()
        return (self.headers(kind, number, date) + head + "\r\n\r\n").encode() + body

    def headers(self, kind: str, number: int, date: datetime) -> str:
        sender, receiver = self.person(), self.person()
        message_id = f"<{number}.{self.chance.getrandbits(48):x}@mail.example.org>"
        lines = self.trace(date)
        lines += [f"From: {sender}", f"To: {receiver}", f"Date: {format_datetime(date)}"]
        if self.chance.random() < 0.3:
            lines.append("Cc: " + ",\r\n ".join(self.person() for _ in range(self.chance.randint(1, 6))))
        replied = kind in ("plain", "alternative", "attachment") and self.open and self.chance.random() < REPLIES
        if replied:
            parent, subject, references = self.chance.choice(self.open[-200:])
            lines += [f"In-Reply-To: {parent}", f"References: {references} {parent}".replace("> <", ">\r\n <")]
            subject, references = "Re: " + subject.removeprefix("Re: "), f"{references} {parent}".strip()
        else:
            subject, references = self.phrase(3, 9).capitalize(), ""
        self.open.append((message_id, subject, references))
        lines += [f"Subject: {subject}", f"Message-ID: {message_id}", "MIME-Version: 1.0"]
        return "\r\n".join(lines) + "\r\n"

    def trace(self, date: datetime) -> list[str]:
        """The headers of the way that a mail took."""
        hops = [
            f"Received: from {self.word()}.example.org ({self.word()}.test [192.0.2.{self.chance.randint(1, 254)}])"
            f"\r\n\tby mx{hop}.example.net with ESMTPS id {self.chance.getrandbits(60):x}"
            f"\r\n\tfor <me@example.net>; {format_datetime(date)}"
            for hop in range(self.chance.randint(1, 4))
        ]
        if self.chance.random() < 0.6:
            signature = base64.b64encode(self.chance.randbytes(256)).decode()
            folded = "\r\n\t ".join(signature[at : at + 70] for at in range(0, len(signature), 70))
            hops.append(f"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s1; h=from:to:subject;\r\n\tb={folded}")
        return hops

    # kinds: what follows the common headers, and the body

    def plain(self) -> tuple[str, bytes]:
        text = self.text(1, 14)
        if self.chance.random() < 0.4:
            text += "\r\n" + "\r\n".join("> " + line for line in self.text(1, 6).splitlines())
        return "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit", text.encode()

    def alternative(self) -> tuple[str, bytes]:
        text = self.text(2, 16)
        page = self.page(text)
        return self.multipart("alternative", [self.text_part(text), self.html_part(page)])

    def newsletter(self) -> tuple[str, bytes]:
        rows = "".join(
            f'<tr><td style="padding:12px 24px;font-family:Arial,sans-serif;font-size:14px;color:#333333">'
            f'<a href="https://news.example.org/c/{self.chance.getrandbits(120):x}">{self.phrase(4, 9)}</a><br>'
            f"{self.phrase(20, 60)}</td></tr>\r\n"
            for _ in range(self.chance.randint(15, 45))
        )
        style = "".join(f".{self.word()}{{margin:0;padding:{pad}px;color:#444}}\r\n" for pad in range(40))
        page = f'<html><head><style>{style}</style></head><body><table width="600">{rows}</table></body></html>'
        head, body = self.multipart("alternative", [self.text_part(self.text(4, 20)), self.html_part(page)])
        return f"List-Unsubscribe: <https://news.example.org/u/1>\r\nPrecedence: bulk\r\n{head}", body

    def attachment(self) -> tuple[str, bytes]:
        parts = [self.text_part(self.text(1, 6))]
        for _ in range(self.chance.choice((1, 1, 1, 2, 3))):
            size = int(self.chance.lognormvariate(10.2, 0.9))
            if self.chance.random() < 0.5:
                parts.append(self.file_part(f"{self.word()}.jpg", "image/jpeg", self.chance.randbytes(size)))
            else:
                table = "\r\n".join(
                    f"{line};{self.word()};{self.chance.randint(1, 99999) / 100};{self.word()}"
                    for line in range(size // 24)
                )
                parts.append(self.file_part(f"{self.word()}.csv", "text/csv", table.encode()))
        return self.multipart("mixed", parts)

    def inline(self) -> tuple[str, bytes]:
        image = self.file_part("logo.png", "image/png", self.chance.randbytes(self.chance.randint(2000, 24000)))
        image = image.replace(
            b"Content-Disposition: attachment", b"Content-ID: <logo@example.org>\r\nContent-Disposition: inline"
        )
        page = self.page(self.text(2, 9)) + '<img src="cid:logo@example.org">'
        return self.multipart("related", [self.html_part(page), image])

    def charset(self) -> tuple[str, bytes]:
        name, text = self.chance.choice(
            (
                ("iso-8859-1", "Grüße aus Köln, naïve café, señor "),
                ("windows-1251", "Привет, как дела, до свидания "),
                ("iso-2022-jp", "こんにちは、お元気ですか。"),
                ("gb2312", "你好，谢谢，再见。"),
                ("koi8-r", "Добрый день, спасибо "),
            )
        )
        lines = "\n".join(text * self.chance.randint(1, 4) for _ in range(self.chance.randint(4, 30)))
        body = base64.encodebytes(lines.encode(name)).replace(b"\n", b"\r\n")
        return f"Content-Type: text/plain; charset={name}\r\nContent-Transfer-Encoding: base64", body

    def invitation(self) -> tuple[str, bytes]:
        event = (
            "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\n"
            f"UID:{self.chance.getrandbits(90):x}@example.org\r\nDTSTART:20260701T090000Z\r\nDTEND:20260701T100000Z\r\n"
            f"SUMMARY:{self.phrase(2, 6)}\r\nDESCRIPTION:{self.phrase(20, 80)}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
        )
        part = f"Content-Type: text/calendar; method=REQUEST; charset=utf-8\r\n\r\n{event}".encode()
        return self.multipart("alternative", [self.text_part(self.text(1, 3)), part])

    def bounce(self) -> tuple[str, bytes]:
        status = (
            "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.net\r\n\r\n"
            f"Final-Recipient: rfc822; {self.word()}@example.com\r\nAction: failed\r\nStatus: 5.1.1\r\n"
            "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
        ).encode()
        return self.multipart(
            "report; report-type=delivery-status", [self.text_part(self.text(1, 2)), status, self.inner()]
        )

    def report(self) -> tuple[str, bytes]:
        facts = b"Feedback-Type: abuse\r\nUser-Agent: Example/1.0\r\nVersion: 1\r\n"
        feedback = b"Content-Type: message/feedback-report\r\n\r\n" + facts
        parts = [self.text_part(self.text(1, 2)), feedback, self.inner()]
        return self.multipart("report; report-type=feedback-report", parts)

    def broken(self) -> tuple[str, bytes]:
        head, body = self.alternative()
        cut = body[: len(body) * 2 // 3]
        return head.replace("utf-8", "x-unknown"), cut + b"\xff\xfe no closing boundary\r\n"

    # pieces

    def multipart(self, subtype: str, parts: list[bytes]) -> tuple[str, bytes]:
        boundary = f"=_{self.chance.getrandbits(64):016x}"
        kind, _, more = subtype.partition(";")
        head = f'Content-Type: multipart/{kind};{more}{";" if more else ""} boundary="{boundary}"'
        mark = f"--{boundary}\r\n".encode()
        return head, b"".join(mark + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()

    def text_part(self, text: str) -> bytes:
        body = quopri.encodestring(text.encode()).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        return b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + body

    def html_part(self, page: str) -> bytes:
        body = quopri.encodestring(page.encode()).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        return b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + body

    def file_part(self, name: str, kind: str, content: bytes) -> bytes:
        head = (
            f'Content-Type: {kind}; name="{name}"\r\nContent-Disposition: attachment; filename="{name}"\r\n'
            "Content-Transfer-Encoding: base64\r\n\r\n"
        ).encode()
        return head + base64.encodebytes(content).replace(b"\n", b"\r\n")

    def inner(self) -> bytes:
        head = f"From: {self.person()}\r\nTo: {self.person()}\r\nSubject: {self.phrase(2, 6)}\r\n"
        return f"Content-Type: message/rfc822\r\n\r\n{head}\r\n{self.text(1, 5)}".encode()

    def page(self, text: str) -> str:
        paragraphs = "".join(f'<p class="MsoNormal" style="margin:0">{line}</p>\r\n' for line in text.splitlines())
        return f"<html><body>{paragraphs}<br><b>{self.phrase(2, 4)}</b></body></html>"

    def text(self, least: int, most: int) -> str:
        return "\r\n".join(self.phrase(10, 14) for _ in range(self.chance.randint(least, most) * 4)) + "\r\n"

    def phrase(self, least: int, most: int) -> str:
        return " ".join(self.chance.choices(self.words, cum_weights=self.weights, k=self.chance.randint(least, most)))

    def word(self) -> str:
        return self.chance.choices(self.words, cum_weights=self.weights)[0]

    def person(self) -> str:
        name = self.chance.choice(self.people)
        return f"{name} <{name.lower().replace(' ', '.')}@example.org>"
