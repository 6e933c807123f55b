"""The read loop of an IMAP connection: whole answers, literals of any size, pipelined commands.

imaplib and IMAPClient log in over it; afterwards it is used directly, because IMAPClient's own `fetch` buffers whole
answers and drops unsolicited data, and its idle check takes a closed connection for silence.
"""

from __future__ import annotations

import imaplib
import os
import re
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Container, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sync.errors import ServerMisbehaved, Stage, Unreachable
from sync.providers.base import LARGE_MESSAGE
from sync.providers.imap_parse import Pieces, Spooled, response_code
from sync.providers.imap_refusals import refusal

#: Bytes read from the socket at once.
CHUNK = 1 << 18
#: A line may be longer than any server's answer for ten million messages, but not endless.
MOST_LINE = 128 << 20
#: Literals above this go to a temporary file; a little over LARGE_MESSAGE, so that a first piece never does.
SPOOL_ABOVE = LARGE_MESSAGE + (1 << 16)
#: Bytes a greeting may have.
MOST_GREETING = 1 << 16
#: Bytes of all answers together while there is a deadline: logging in, and a list of 100,000 folders.
MOST_ANSWERED = 32 << 20
#: Commands sent before their answers are read: few enough that neither side's socket buffer fills.
PIPELINE = 64

_LITERAL = re.compile(rb"\{(\d+)\+?\}$")
_GREETING = re.compile(rb"\* (OK|PREAUTH|BYE)\b ?(.*)", re.IGNORECASE | re.DOTALL)
_BYE = re.compile(rb"\* BYE\b ?(.*)", re.IGNORECASE | re.DOTALL)


@dataclass(slots=True)
class Answer:
    """The answer to one command: its untagged lines, and OK, NO or BAD with (CODE, arguments, words)."""

    status: bytes = b""
    text: bytes = b""
    lines: list[Pieces] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.status == b"OK"

    @property
    def code(self) -> bytes:
        return response_code(self.text)[0]


def new_spool() -> Path:
    """Return a new, empty temporary file, which its receiver deletes."""
    number, path = tempfile.mkstemp(prefix="mailmirror-", suffix=".eml")
    os.close(number)
    return Path(path)


def _tagged(pieces: Pieces, tag: bytes) -> tuple[bytes, bytes]:
    """Split a tagged answer into its status, upper case, and the text behind it."""
    line = pieces[0]
    assert isinstance(line, bytes)
    status, _, text = line[len(tag) + 1 :].partition(b" ")
    return status.upper(), text


class ImapWire(imaplib.IMAP4):
    """A connection on a socket that is open already. Raises MailErrors only, with `stage` while it is set."""

    def __init__(self, sock: socket.socket, *, host: str, port: int, timeout: float, deadline: float) -> None:
        #: Seconds a single wait may take.
        self.timeout = timeout
        #: time.monotonic() by which everything must be done, while connecting; None: no such limit.
        self.deadline: float | None = deadline
        self.stage: Stage | None = "connect"
        #: A command is under way, or the connection broke: nothing more can be asked.
        self.busy = False
        #: The socket is closed.
        self.lost = False
        #: Hears every untagged answer, of whatever command; None: nobody does.
        self.overheard: Callable[[Pieces], object] | None = None
        self._data = b""
        self._at = 0
        #: Bytes that came while there was a deadline.
        self._answered = 0
        self._opened = sock
        super().__init__(host, port)

    # What imaplib calls while logging in

    def open(self, host: str = "", port: int = 0, timeout: float | None = None) -> None:
        """Take the socket and look at the greeting."""
        self.host, self.port, self.sock = host, port, self._opened
        greeting = self.read_line(most=MOST_GREETING)
        found = _GREETING.match(greeting)
        if not found:
            raise ServerMisbehaved(f"no IMAP greeting: {greeting[:80]!r}", stage=self.stage)
        if found[1].upper() == b"BYE":
            raise refusal(b"BYE", found[2], asked="greeting", stage=self.stage)
        # imaplib reads it again, to see OK or PREAUTH
        self._data = greeting + b"\r\n" + self._data[self._at :]
        self._at = 0

    def read(self, size: int) -> bytes:
        return self.read_bytes(size)

    def readline(self) -> bytes:
        return self.read_line() + b"\r\n"

    def send(self, data: bytes) -> None:  # type: ignore[override]
        try:
            self.sock.settimeout(self._patience())
            self.sock.sendall(data)
        except OSError as error:
            raise self._broken(f"sending: {error}") from error

    def shutdown(self) -> None:
        """Close the socket. Raises nothing."""
        self.busy = self.lost = True
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            self.sock.close()

    def starttls(  # type: ignore[override]
        self, ssl_context: ssl.SSLContext | None = None
    ) -> tuple[str, list[bytes]]:
        """Switch to TLS (RFC 3501 6.2.1), checking the certificate for `self.host`."""
        assert ssl_context is not None
        kind, data = self._simple_command("STARTTLS")
        if self._at < len(self._data):
            # whoever injects plain text here wants it taken for the server's word under TLS
            raise ServerMisbehaved("answers after STARTTLS before TLS began", stage=self.stage)
        self.sock.settimeout(self._patience())
        self.sock = ssl_context.wrap_socket(self.sock, server_hostname=self.host)
        self._tls_established = True
        self._get_capabilities()
        return kind, data

    def use_utf8(self) -> None:
        """Send commands in UTF-8 from now on; imaplib refuses letters outside ASCII else."""
        self._encoding = "utf-8"

    def _get_capabilities(self) -> None:
        """Take the capabilities of the greeting for granted, which saves a round trip."""
        greeted = self.untagged_responses.pop("CAPABILITY", None)
        if greeted and isinstance(greeted[-1], bytes):
            self.capabilities = tuple(greeted[-1].decode("ascii", "replace").upper().split())
            return
        super()._get_capabilities()  # type: ignore[misc]

    def _get_line(self) -> bytes:
        return self.read_line()

    def _check_bye(self) -> None:
        if told := self.untagged_responses.get("BYE"):
            words = told[-1] if isinstance(told[-1], bytes) else b""
            raise refusal(b"BYE", words, asked="server", stage=self.stage)

    def _command_complete(self, name: str, tag: bytes) -> tuple[str, list[bytes]]:
        kind, data = self._get_tagged_response(tag)
        if kind != "OK":
            raise refusal(kind.encode("ascii"), data[-1], asked=name, stage=self.stage)
        return kind, data

    def _log(self, line: str) -> None:
        """Keep no log of the last lines, as imaplib does: it would hold the password."""

    # Bytes

    def _broken(self, why: str) -> Unreachable:
        self.shutdown()
        return Unreachable(why, stage=self.stage)

    def _patience(self) -> float:
        """Return the seconds the next wait may take."""
        if self.deadline is None:
            return self.timeout
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise self._broken("the server took too long")
        return min(self.timeout, left)

    def _fill(self) -> None:
        """Read once from the socket, behind what is there."""
        timeout = self._patience()
        try:
            self.sock.settimeout(timeout)
            chunk = self.sock.recv(CHUNK)
        except TimeoutError as error:
            # less than usual was left of the deadline
            late = timeout < self.timeout
            raise self._broken("the server took too long" if late else f"no answer within {timeout:.1f} s") from error
        except OSError as error:
            raise self._broken(f"reading: {error}") from error
        if not chunk:
            raise self._broken("the server closed the connection")
        self._count(len(chunk))
        rest = self._data[self._at :]
        self._data, self._at = rest + chunk if rest else chunk, 0

    def _count(self, size: int) -> None:
        """Count what comes while there is a deadline: nobody may fill our memory until then."""
        if self.deadline is None:
            return
        self._answered += size
        if self._answered > MOST_ANSWERED:
            self.shutdown()
            raise ServerMisbehaved(f"answers of more than {MOST_ANSWERED >> 20} MB", stage=self.stage)

    def wait_readable(self, seconds: float) -> bool:
        """Wait until the server says something; False after `seconds` of silence. A closed connection raises."""
        if self._at < len(self._data):
            return True
        try:
            self.sock.settimeout(max(seconds, 0.001))
            self._data, self._at = self.sock.recv(CHUNK), 0
        except TimeoutError:
            return False
        except OSError as error:
            raise self._broken(f"waiting: {error}") from error
        if not self._data:
            raise self._broken("the server closed the connection")
        return True

    def read_line(self, most: int = MOST_LINE) -> bytes:
        """Read a line of up to `most` bytes, without its line break."""
        end = self._data.find(b"\n", self._at)
        if end < 0:
            return self._read_long_line(most)
        line = self._data[self._at : end]
        self._at = end + 1
        return line[:-1] if line.endswith(b"\r") else line

    def _read_long_line(self, most: int) -> bytes:
        parts: list[bytes] = []
        length = 0
        while True:
            parts.append(self._data[self._at :])
            length += len(parts[-1])
            self._at = len(self._data)
            if length > most:
                self.shutdown()
                raise ServerMisbehaved(f"a line of more than {most} bytes", stage=self.stage)
            self._fill()
            end = self._data.find(b"\n")
            if end >= 0:
                parts.append(self._data[:end])
                self._at = end + 1
                line = b"".join(parts)
                return line[:-1] if line.endswith(b"\r") else line

    def read_bytes(self, size: int) -> bytes:
        """Read exactly `size` bytes."""
        end = self._at + size
        if end <= len(self._data):
            piece = self._data[self._at : end]
            self._at = end
            return piece
        return b"".join(self._chunks(size))

    def _chunks(self, size: int) -> Iterator[bytes]:
        while size:
            if self._at == len(self._data):
                self._fill()
            piece = self._data[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            yield piece

    def _spool(self, size: int) -> Spooled:
        path = new_spool()
        try:
            with path.open("wb") as file:
                for piece in self._chunks(size):
                    file.write(piece)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Spooled(path, size)

    # Commands and answers

    def read_pieces(self) -> Pieces:
        """Read one answer line with its literals: text, literal, text, …"""
        line = self.read_line()
        pieces: Pieces = [line]
        while line.endswith(b"}") and (found := _LITERAL.search(line)):
            size = int(found[1])
            pieces.append(self._spool(size) if size > SPOOL_ABOVE else self.read_bytes(size))
            line = self.read_line()
            pieces.append(line)
        return pieces

    def ask(self, command: bytes) -> Answer:
        """Send one command and return its answer, whatever its status."""
        return self.pipeline([command])[0]

    def require(self, command: bytes, *, asked: str, ahead: bytes = b"") -> Answer:
        """Send one command and return its answer; NO and BAD raise. `asked` describes it to people."""
        (answer,) = self.pipeline([command], ahead=ahead)
        if not answer.ok:
            raise refusal(answer.status, answer.text, asked=asked, stage=self.stage)
        return answer

    def pipeline(self, commands: Sequence[bytes], *, ahead: bytes = b"") -> list[Answer]:
        """Send commands without waiting between them and return their answers, in one round trip for up to 64.

        `ahead`: a command to send before them whose answer nobody needs.

        Untagged lines go to the answer that ends next. Servers may end commands in another order than sent, and mix
        what belongs to them: whoever must know reads the lines of all.
        """
        if ahead:
            return self.pipeline([ahead, *commands])[1:]
        answers: list[Answer] = []
        for start in range(0, len(commands), PIPELINE):
            open_ones = {tag: Answer() for tag in self._start(commands[start : start + PIPELINE])}
            answers.extend(open_ones.values())
            lines: list[Pieces] = []
            while open_ones:
                pieces, tag = self._read_answer(open_ones)
                lines.append(pieces)
                if tag:
                    ended = open_ones.pop(tag)
                    ended.status, ended.text = _tagged(lines.pop(), tag)
                    ended.lines, lines = lines, []
            self.busy = False
        return answers

    def stream(self, command: bytes, answer: Answer) -> Iterator[Pieces]:
        """Send one command and yield its untagged answers as they come; the end is told in `answer`.

        A caller who stops early leaves the connection busy: it must be drained or closed.
        """
        (tag,) = self._start([command])
        yield from self._until(tag, answer)
        self.busy = False

    def _start(self, commands: Sequence[bytes]) -> list[bytes]:
        if self.busy:
            raise self._broken("an earlier answer was not read to its end")
        self.busy = True
        tags = []
        for _ in commands:
            self.tagnum += 1
            tags.append(b"M%d" % self.tagnum)
        self.send(b"".join(tag + b" " + command + b"\r\n" for tag, command in zip(tags, commands, strict=True)))
        return tags

    def _until(self, tag: bytes, answer: Answer) -> Iterator[Pieces]:
        """Yield untagged answers until the tagged one, which goes into `answer`."""
        while True:
            pieces, ended = self._read_answer((tag,))
            if ended:
                answer.status, answer.text = _tagged(pieces, tag)
                return
            yield pieces

    def _read_answer(self, tags: Container[bytes]) -> tuple[Pieces, bytes]:
        """Read one answer; return it and the tag it ends, empty for an untagged one."""
        while True:
            pieces = self.read_pieces()
            line = pieces[0]
            assert isinstance(line, bytes)
            if line.startswith(b"* "):
                self._untagged(pieces)
                if self.overheard is not None:
                    self.overheard(pieces)
                return pieces, b""
            tag = line.partition(b" ")[0]
            if tag in tags:
                return pieces, tag
            # an empty line breaks the grammar and means nothing
            if line:
                self.shutdown()
                raise ServerMisbehaved(f"unexpected answer {line[:80]!r}", stage=self.stage)

    def _said_bye(self, line: bytes) -> Exception:
        self.shutdown()
        found = _BYE.match(line)
        return refusal(b"BYE", found[1] if found else b"", asked="server", stage=self.stage)

    @property
    def has_more(self) -> bool:
        """Whether more has come already than was read."""
        return self._at < len(self._data)

    def listen(self, seconds: float) -> Generator[Pieces, None, None]:
        """IDLE (RFC 2177) for `seconds` and yield untagged answers as they come.

        A caller who stops early leaves IDLE too; what comes until then is lost.
        """
        (tag,) = self._start([b"IDLE"])
        ends = time.monotonic() + seconds
        stopped = True
        try:
            yield from self._until_idle()
            while (left := ends - time.monotonic()) > 0 and self.wait_readable(left):
                yield self._untagged(self.read_pieces())
            stopped = False
        finally:
            if not self.lost:
                self.send(b"DONE\r\n")
                last = list(self._until(tag, Answer()))
                self.busy = False
        if not stopped:
            yield from last

    def _until_idle(self) -> Iterator[Pieces]:
        while (line := self.read_line()).startswith(b"* "):
            yield self._untagged([line])
        if not line.startswith(b"+"):
            self.shutdown()
            raise ServerMisbehaved(f"IDLE: {line[:80]!r}", stage=self.stage)

    def _untagged(self, pieces: Pieces) -> Pieces:
        line = pieces[0]
        assert isinstance(line, bytes)
        if line[2:5].upper() == b"BYE":
            raise self._said_bye(line)
        return pieces
