"""Small files to attach, made from nothing: PDF, PNG, CSV, calendar entries."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from project.demo.sample.compose import Person, digest


def pdf(title: str, lines: Sequence[str]) -> bytes:
    """Return a page of A4 with a title and lines of text; what Latin-1 lacks becomes a question mark."""
    shown = [f"BT /F1 18 Tf 72 770 Td ({_pdf_text(title)}) Tj ET"]
    shown += [f"BT /F1 11 Tf 72 {740 - 16 * at} Td ({_pdf_text(line)}) Tj ET" for at, line in enumerate(lines)]
    content = "\n".join(shown).encode("latin-1", "replace")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    return _pdf_file(objects)


def _pdf_file(objects: Sequence[bytes]) -> bytes:
    whole = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(whole))
        whole += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(whole)
    whole += b"xref\n0 %d\n0000000000 65535 f \n%b" % (len(objects) + 1, table)
    whole += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(whole)


def _pdf_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def png(key: str, *, width: int = 160, height: int = 120) -> bytes:
    """Return a picture of a hilly evening, its colours and hills chosen by `key`."""
    seed = bytes.fromhex(digest(key))
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            ridge = height * (0.55 + 0.18 * math.sin(x / (9 + seed[0] % 17) + seed[1]))
            shade = 1 - y / height
            sky = (int(40 + seed[2] % 120 * shade), int(60 + seed[3] % 130 * shade), int(120 + seed[4] % 120 * shade))
            land = (seed[5] % 90, 40 + seed[6] % 90, seed[7] % 70)
            rows += bytes(sky if y < ridge else land)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def csv(key: str, *, rows: int = 30) -> bytes:
    """Return a small table with a header row."""
    seed = bytes.fromhex(digest(key))
    lines = ["row,name,from,to,note"]
    for row in range(1, rows + 1):
        room, opens = seed[row % 13] % 12 + 1, 9 + seed[row % 16] % 3
        note = "31 April" if row == 14 else ""
        lines.append(f'{row},"Room {room}",{opens}:00,{opens + 7}:30,{note}')
    return "\r\n".join(lines).encode() + b"\r\n"


def invitation(
    key: str, summary: str, organizer: Person, attendee: Person, begins: datetime, *, minutes: int = 60, place: str = ""
) -> bytes:
    """Return a calendar request (RFC 5546) for one meeting."""
    lines = [
        *("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Paper Kite//Sample//EN", "METHOD:REQUEST", "BEGIN:VEVENT"),
        f"UID:{digest(key)}@calendar.paperkite.test",
        f"DTSTAMP:{_stamp(begins - timedelta(days=30))}",
        f"DTSTART:{_stamp(begins)}",
        f"DTEND:{_stamp(begins + timedelta(minutes=minutes))}",
        f"SUMMARY:{_calendar_text(summary)}",
        f"LOCATION:{_calendar_text(place)}",
        f"ORGANIZER;CN={organizer.name}:mailto:{organizer.address}",
        f"ATTENDEE;RSVP=TRUE;PARTSTAT=NEEDS-ACTION:mailto:{attendee.address}",
        *("SEQUENCE:0", "STATUS:CONFIRMED", "END:VEVENT", "END:VCALENDAR"),
    ]
    return "\r\n".join(lines).encode() + b"\r\n"


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _calendar_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,").replace(";", "\\;")
