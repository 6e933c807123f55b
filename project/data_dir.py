"""What lies where in DATA_DIR, and the values that are chosen once and kept there.

lock/            who uses this directory (`project.occupancy`)
secrets/         what was made because nobody set it, 0600
ports.json       the ports of the embedded servers
postgres         the embedded PostgreSQL; a link when a parent of DATA_DIR is closed to the user it runs as
valkey/          the embedded Valkey
logs/            what the embedded servers say
"""

from __future__ import annotations

import fcntl
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: The kernel hands the ports above to clients: a server that comes back might find its own taken.
FIRST_PORT, LAST_PORT = 20000, 32000


def secret_path(data_dir: Path, name: str) -> Path:
    """Return where a made secret is kept."""
    return data_dir / "secrets" / name


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, made when missing; waits for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def kept_port(data_dir: Path, name: str) -> int:
    """Return the port of an embedded server, chosen free on first use and the same ever after."""
    path = data_dir / "ports.json"
    ports = read_ports(path)
    if name in ports:
        return ports[name]
    with held(data_dir / "lock" / "ports"):
        ports = read_ports(path)
        if name not in ports:
            ports[name] = free_port(taken=set(ports.values()))
            write_whole(path, json.dumps(ports))
    return ports[name]


def choose_port_anew(data_dir: Path, name: str) -> int:
    """Choose another port for an embedded server that found its own taken by a stranger."""
    path = data_dir / "ports.json"
    with held(data_dir / "lock" / "ports"):
        ports = read_ports(path)
        ports[name] = free_port(taken=set(ports.values()))
        write_whole(path, json.dumps(ports))
    return ports[name]


def read_ports(path: Path) -> dict[str, int]:
    """Return the ports kept in a file; none when there is no file yet."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {str(name): int(port) for name, port in kept.items()}


def write_whole(path: Path, content: str) -> None:
    """Write a small file so that a reader sees all of it or what was there before."""
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(content, encoding="utf-8")
    draft.replace(path)


def free_port(taken: set[int]) -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    # begin at a different place each time: two stacks that start at once should not look at the same ports
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        start: int = probe.getsockname()[1]
    span = LAST_PORT - FIRST_PORT
    for step in range(span):
        port = FIRST_PORT + (start * 7 + step) % span
        if port not in taken and can_listen(port):
            return port
    raise OSError(f"no free port between {FIRST_PORT} and {LAST_PORT}")


def can_listen(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on a port of this machine now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
