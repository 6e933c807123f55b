"""Small mails for tests of the server."""

from __future__ import annotations

PLAIN = (
    b"From: Ada Quill <ada@example.com>\r\n"
    b"To: Bo <bo@example.org>\r\n"
    b"Subject: =?utf-8?q?Caf=C3=A9_at_noon?=\r\n"
    b"Date: Mon, 05 Oct 2026 10:00:00 +0200\r\n"
    b"Message-ID: <plain@example.com>\r\n"
    b"\r\n"
    b"See you there.\r\n"
)

MIXED = (
    b"From: Ada Quill <ada@example.com>\r\n"
    b"Subject: Two parts and a letter in a letter\r\n"
    b"MIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="edge"\r\n'
    b"\r\n"
    b"preamble\r\n"
    b"--edge\r\n"
    b"Content-Type: text/plain; charset=us-ascii\r\n"
    b"\r\n"
    b"first\r\n"
    b"--edge\r\n"
    b"Content-Type: message/rfc822\r\n"
    b"\r\n" + PLAIN + b"\r\n"
    b"--edge\r\n"
    b'Content-Type: application/octet-stream; name="a.bin"\r\n'
    b"Content-Transfer-Encoding: base64\r\n"
    b'Content-Disposition: attachment; filename="a.bin"\r\n'
    b"\r\n"
    b"AAEC\r\n"
    b"--edge--\r\n"
)


def letter(number: int, *, lines: int = 1) -> bytes:
    """Return a mail that differs from all others by its number."""
    body = b"".join(b"line %d of letter %d\r\n" % (at, number) for at in range(lines))
    return b"Subject: letter %d\r\nMessage-ID: <%d@letters.test>\r\n\r\n" % (number, number) + body
