"""A piece of internet for the tests of discovery: a DNS server and an HTTPS server on 127.0.0.1, real sockets."""

from __future__ import annotations

import contextlib
import http.server
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from accounts.discovery import Internet
from tests.servers.certificates import make_certificate

#: What a web page answers: status, headers, body pieces; a piece may wait.
Page = Callable[[http.server.BaseHTTPRequestHandler], None]


@dataclass
class TestNet:
    """Names, pages and what was asked for."""

    __test__ = False

    internet: Internet
    #: (name, type) -> records as in a zone file.
    zone: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    #: (host, path without query) -> page.
    pages: dict[tuple[str, str], Page] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    #: False: DNS says nothing at all.
    dns_answers: bool = True

    def host(self, name: str, address: str = "127.0.0.1") -> None:
        """Give a host an address."""
        self.zone[name, "A"] = [address]

    def page(self, host: str, path: str, body: bytes, *, status: int = 200, **headers: str) -> None:
        """Let a host, which gets an address, answer a path."""

        def answer(request: http.server.BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            for name, value in headers.items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(body)

        self.host(host)
        self.pages[host, path] = answer


@contextlib.contextmanager
def open_net(directory: Path, *names: str) -> Iterator[TestNet]:
    """Start both servers; the HTTPS server has a certificate for `names`."""
    certificate, key = make_certificate(directory, *names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with contextlib.ExitStack() as running:
        nameserver = running.enter_context(_Nameserver(("127.0.0.1", 0), _Question))
        web = running.enter_context(_Web(("127.0.0.1", 0), _Request))
        web.context = context
        internet = Internet(
            nameservers=("127.0.0.1",),
            dns_port=nameserver.server_address[1],
            https_port=web.server_address[1],
            private_networks=("127.0.0.0/8",),
            certificates=certificate,
        )
        net = nameserver.net = web.net = TestNet(internet)
        for server in (nameserver, web):
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            running.callback(server.shutdown)
        yield net


class _Nameserver(socketserver.ThreadingUDPServer):
    net: TestNet


class _Question(socketserver.BaseRequestHandler):
    server: _Nameserver

    def handle(self) -> None:
        net = self.server.net
        if not net.dns_answers:
            return
        text, connection = self.request
        query = dns.message.from_wire(text)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        net.asked.append(f"{kind} {name}")
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA | dns.flags.RA
        if records := net.zone.get((name.lower(), kind)):
            response.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", kind, records))
        elif not any(known == name.lower() for known, _ in net.zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
        connection.sendto(response.to_wire(), self.client_address)


class _Web(socketserver.ThreadingTCPServer):
    daemon_threads = True
    net: TestNet
    context: ssl.SSLContext

    def finish_request(self, request: object, client_address: object) -> None:
        with contextlib.suppress(OSError), self.context.wrap_socket(request, server_side=True) as secured:  # type: ignore[arg-type]
            self.RequestHandlerClass(secured, client_address, self)  # type: ignore[arg-type]


class _Request(http.server.BaseHTTPRequestHandler):
    server: _Web

    def do_GET(self) -> None:
        host = self.headers["Host"].partition(":")[0]
        self.server.net.asked.append(f"GET {host}{self.path}")
        page = self.server.net.pages.get((host, self.path.partition("?")[0]))
        if page is None:
            self.send_error(404)
            return
        page(self)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class _Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True
    target: int
    requests: list[str]

    @property
    def port(self) -> int:
        port: int = self.server_address[1]
        return port


class _Tunnel(socketserver.StreamRequestHandler):
    server: _Proxy

    def handle(self) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.rfile.readline()
        self.server.requests.append(head.decode())
        with socket.create_connection(("127.0.0.1", self.server.target)) as target:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_pump, args=(target, self.connection), daemon=True)
            back.start()
            _pump(self.connection, target)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def open_proxy(target: int) -> Iterator[_Proxy]:
    """Start a proxy that takes every CONNECT to one port of 127.0.0.1, and notes what it was asked."""
    with _Proxy(("127.0.0.1", 0), _Tunnel) as proxy:
        proxy.target, proxy.requests = target, []
        threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        yield proxy
        proxy.shutdown()
