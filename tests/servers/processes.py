"""Starting and ending server processes that never outlive the tests.

Servers run without privileges, as root's tests too: what differs between root and a plain user is one prefix of
the command line, and root's servers cannot harm the machine.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

#: Runs the servers when root runs the tests; every Debian and Ubuntu has it.
UNPRIVILEGED = "mail"
#: Below the range from which the kernel hands out client ports, else a client of some test may sit on ours.
PORTS = range(20000, 32000)
#: Seconds a server may take to come up or to end.
DEADLINE = 20.0


class ServerFailed(Exception):
    """A server did not come up, or a tool of it failed; the message holds the end of its log."""


def service_account() -> pwd.struct_passwd:
    """Tell the account that servers run as: our own, or UNPRIVILEGED when we are root."""
    return pwd.getpwnam(UNPRIVILEGED) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


def account_names() -> dict[str, str]:
    """Tell the names of the service account and its group, for configurations."""
    account = service_account()
    return {"user": account.pw_name, "group": grp.getgrgid(account.pw_gid).gr_name}


def fill_in(template: str, **values: object) -> str:
    """Read a file of configuration/ and put `values` in place of @names@. Raises KeyError for a name without value."""
    text = (Path(__file__).parent / "configuration" / template).read_text()
    return re.sub(r"@(\w+)@", lambda name: str(values[name[1]]), text)


def tied_to_us(command: Sequence[str | Path], *rights: str) -> list[str]:
    """Make a command line end when the thread that starts it ends. `rights`: further options for setpriv."""
    return ["setpriv", "--pdeathsig", "TERM", *rights, "--", *map(str, command)]


def as_service_account(command: Sequence[str | Path]) -> list[str]:
    """Make a command line run as the service account, tied to us."""
    if os.geteuid() != 0:
        return tied_to_us(command)
    account = service_account()
    return tied_to_us(command, "--reuid", str(account.pw_uid), "--regid", str(account.pw_gid), "--clear-groups")


def make_directory(name: str) -> Path:
    """Make a temporary directory that the service account owns.

    Always directly below /tmp: pytest's own directories are closed to other accounts when root runs the tests,
    and the path of a socket has at most 107 bytes.
    """
    path = Path(tempfile.mkdtemp(prefix=f"mailmirror-{name}-", dir="/tmp"))
    own(path)
    return path


def own(path: Path) -> None:
    """Give a file or directory to the service account."""
    account = service_account()
    os.chown(path, account.pw_uid, account.pw_gid)


def reachable_copy(tree: Path, below: Path) -> Path:
    """Return `tree`, or a copy of it below `below` where a directory on the way is closed to the service account."""
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in tree.resolve().parents):
        return tree
    return Path(shutil.copytree(tree, below / tree.name, symlinks=True))


def free_ports(count: int) -> list[int]:
    """Choose TCP ports of 127.0.0.1 that nobody listens on."""
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = random.choice(PORTS)
            listener = held.enter_context(socket.socket())
            # what was in TIME_WAIT a moment ago is free to a server, which sets this too
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                listener.bind(("127.0.0.1", port))
                ports.append(port)
        return ports


def wait_until(condition: Callable[[], bool], *, seconds: float = DEADLINE) -> bool:
    """Ask again and again until `condition` holds; False when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def accepts(port: int) -> bool:
    """True when somebody listens on the port of 127.0.0.1."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def processes_with(name: str, value: object) -> Iterator[int]:
    """Tell the processes that were started with an environment variable of this value."""
    wanted = f"{name}={value}".encode()
    for entry in Path("/proc").iterdir():
        # gone by now, or another account's
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)


def group_members(group: int) -> list[int]:
    """Tell the processes of a process group that have not ended; ended ones that nobody has waited for do not count."""
    return [
        process.pid
        for process in psutil.process_iter(["status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE and _group_of(process.pid) == group
    ]


def _group_of(pid: int) -> int | None:
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(pid)
    return None


def end_process(pid: int) -> None:
    """Kill a process; it may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class ServerProcess:
    """A server in the foreground, in a process group of its own."""

    def __init__(self, command: Sequence[str | Path], *, log: Path, environ: Mapping[str, str] | None = None) -> None:
        """Start it. `log` gets what it prints; `environ` is added to ours."""
        self.log = log
        log.touch()
        # some servers open it again themselves
        own(log)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={**os.environ, **(environ or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id of the server's first process, and id of its group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """True until the server's first process has ended."""
        return self._process.poll() is None

    def wait_for(self, *ports: int) -> None:
        """Wait until the server accepts on all ports. Raises ServerFailed, with the end of the log."""
        wait_until(lambda: not self.running or all(map(accepts, ports)))
        if not self.running or not all(map(accepts, ports)):
            self.kill()
            raise ServerFailed(f"{self.log.name}: {tail(self.log)}")

    def terminate(self, *, grace: float = DEADLINE) -> None:
        """End it in order, hard after `grace` seconds."""
        if self.running:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        self.kill()

    def kill(self) -> None:
        """End every process of the group at once, as a power cut would; return when all have ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(DEADLINE)
        # a child still ending may still accept
        wait_until(lambda: not group_members(self.pid))


def run_tool(command: Sequence[str | Path], *, stdin: str = "", environ: Mapping[str, str] | None = None) -> str:
    """Run a server's own tool as the service account and return what it prints. Raises ServerFailed."""
    done = subprocess.run(
        as_service_account(command),
        input=stdin,
        capture_output=True,
        text=True,
        cwd="/",
        env={**os.environ, **(environ or {})},
        timeout=DEADLINE,
        check=False,
    )
    if done.returncode:
        raise ServerFailed(f"{' '.join(map(str, command))}: status {done.returncode}: {done.stderr}{done.stdout}")
    return done.stdout


def tail(log: Path, *, size: int = 2000) -> str:
    """Return the last `size` characters of a log; empty when there is none."""
    return log.read_text(errors="replace")[-size:] if log.exists() else ""
