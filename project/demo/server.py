"""Run the demo server as a process: `python -m project.demo.server --port 0 --dir DIR --user U --password-file F`.

It prints one line, `listening on HOST:PORT`, and writes the port to `--port-file` once connections are taken;
SIGTERM and SIGINT end it with status 0 after the directory is written.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import signal
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from project.demo.faults import Faults
from project.demo.mailbox import new_mail
from project.demo.serving import DemoServer

__all__ = ["DemoServer", "Faults", "main"]


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m project.demo.server", description="A small IMAP server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--dir", type=Path, required=True, help="one folder a mailbox, one .eml file a message")
    parser.add_argument("--user", required=True)
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--port-file", type=Path, help="the port is written here once connections are taken")
    parser.add_argument(
        "--sample", action="store_true", help="begin with the sample mailbox where DIR holds no mail yet"
    )
    parser.add_argument("--new-mail-every", type=float, metavar="SECONDS", help="let a mail arrive in INBOX so often")
    parser.add_argument("--until-stdin-ends", action="store_true", help="end when stdin does: with whoever started us")
    parser.add_argument("--certificate", type=Path, help="PEM with key and certificate: TLS from the first byte")
    parser.add_argument("--starttls", action="store_true", help="use the certificate for STARTTLS instead")
    return parser.parse_args(argv)


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = DemoServer(
        options.user,
        options.password_file.read_text("utf-8").strip(),
        host=options.host,
        port=options.port,
        directory=options.dir,
        tls=_context(options.certificate),
        starttls=options.starttls,
        sample=options.sample,
    )
    async with server:
        _announce(options, server)
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(stop.wait())]
        if options.until_stdin_ends:
            waits.append(asyncio.create_task(_stdin_ended()))
        if options.new_mail_every is not None:
            waits.append(asyncio.create_task(_deliver(server, options.new_mail_every)))
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


def _context(certificate: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


async def _deliver(server: DemoServer, seconds: float) -> None:
    for n in itertools.count():
        await asyncio.sleep(seconds)
        server.append("INBOX", new_mail(n))


async def _stdin_ended() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1 << 12):
        pass


def _announce(options: argparse.Namespace, server: DemoServer) -> None:
    if options.port_file is not None:
        scratch = options.port_file.with_name(options.port_file.name + ".new")
        scratch.write_text(f"{server.port}\n", "ascii")
        scratch.replace(options.port_file)
    sys.stdout.write(f"listening on {server.host}:{server.port}\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to stop; returns the exit status."""
    options = _arguments(argv)
    try:
        asyncio.run(_serve(options))
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    with contextlib.suppress(OSError):
        if options.port_file is not None:
            options.port_file.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
