"""Run a command of manage.py beside what it needs: a command without a running stack starts what is embedded."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from types import FrameType

from django.core.exceptions import ImproperlyConfigured

from project.data_dir import can_listen
from project.embedded import EmbeddedFault, EmbeddedServers, embedded_names, record_of
from project.occupancy import Occupancy, Occupied

#: Commands that work without a database. The rest need one.
WITHOUT_DATABASE = frozenset(
    {"help", "version", "check", "makemigrations", "compilemessages", "makemessages", "collectstatic", "findstatic"}
    | {"diffsettings", "startapp", "startproject", "test", "spectacular", "upgrade_postgres"}
)
#: Commands that run until told to stop, and do the work of the Procfile: one at a time on a DATA_DIR.
STAYING = frozenset({"up", "demo"})
#: The embedded servers that this process runs, for whoever stays and looks after them: none, or one set.
SERVING: list[EmbeddedServers] = []
#: Where the demo's own mail server is.
LOOPBACK = "127.0.0.0/8"
#: A wrong setting or a command line that cannot be: as argparse has it.
USAGE_STATUS = 2


def run_command(arguments: Sequence[str]) -> int:
    """Run what the arguments name; return the exit status. What an operator can mend is said in one line."""
    if name_of(arguments) == "demo":
        allow_loopback()
    try:
        importlib.import_module("project.settings")
        with servers_for(arguments):
            return execute(arguments)
    except (ImproperlyConfigured, EmbeddedFault, Occupied) as error:
        sys.stderr.write(f"{error}\n")
        return USAGE_STATUS if isinstance(error, ImproperlyConfigured) else 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def name_of(arguments: Sequence[str]) -> str | None:
    """Return the command that a command line runs; None: it only asks for help."""
    if len(arguments) < 2 or arguments[1].startswith("-") or {"--help", "-h"} & set(arguments):
        return None
    return arguments[1]


def allow_loopback() -> None:
    """Let mail hosts be on this machine: the demo's is."""
    given = [word for word in os.environ.get("ALLOWED_PRIVATE_NETWORKS", "").split(",") if word.strip()]
    os.environ["ALLOWED_PRIVATE_NETWORKS"] = ",".join([*given, LOOPBACK])


def execute(arguments: Sequence[str]) -> int:
    """Run a command of Django or ours; return its exit status."""
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(list(arguments))
        sys.stdout.flush()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokenPipeError:
        # whoever reads our output, `head` perhaps, has enough; nor is there anybody for what is still in the buffer
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return 0


@contextmanager
def servers_for(arguments: Sequence[str]) -> Iterator[None]:
    """Have the embedded servers run, and migrated, while a command runs: those of `up`, else our own."""
    from project import settings

    name = name_of(arguments)
    if name is None or name in WITHOUT_DATABASE or (name not in STAYING and not embedded_names()):
        yield
        return
    occupancy = Occupancy(settings.DATA_DIR, name)
    if name == "changes" and "--follow" in arguments:
        if occupancy.running() is None:
            raise Occupied("nothing runs here whose changes could be followed; start it with: manage.py up")
        yield
        return
    with ExitStack() as held:
        if name in STAYING:
            held.enter_context(occupancy.own())
            held.enter_context(served(occupancy))
        elif held.enter_context(occupancy.own_or_visit()):
            held.enter_context(served(occupancy))
        yield


@contextmanager
def served(occupancy: Occupancy) -> Iterator[None]:
    """Run the embedded servers, migrated, for ourselves and for guests."""
    from project import settings

    with term_raises(), serving(EmbeddedServers(settings.DATA_DIR), staying=occupancy.command in STAYING):
        migrate()
        occupancy.announce(serving=True)
        try:
            yield
        finally:
            # `up` was told to stop: its guests are not asked
            with occupancy.guests_gone() if occupancy.command not in STAYING else nullcontext():
                occupancy.announce(serving=False)


@contextmanager
def serving(servers: EmbeddedServers, *, staying: bool) -> Iterator[None]:
    """Start embedded servers after what an earlier run left has ended; stop them at the end.

    The settings are read again when a port had to change. `staying`: our own ports must be free too.
    """
    record = record_of(servers.data_dir)
    record.end_leftovers()
    if staying:
        refuse_taken_ports()
    if servers.settle_ports():
        importlib.reload(importlib.import_module("project.settings"))
    servers.start()
    SERVING.append(servers)
    try:
        yield
    finally:
        SERVING.remove(servers)
        servers.stop()
        record.forget()


def refuse_taken_ports() -> None:
    """Raise ImproperlyConfigured when somebody else listens where we must."""
    from project import settings

    for name, port in (("PORT", settings.PORT), ("FLOWER_PORT", settings.FLOWER_PORT)):
        if not can_listen(port, settings.HOST):
            raise ImproperlyConfigured(f"{name}={port}: another program listens there; allowed: a free port")


def migrate() -> None:
    """Apply every migration to every database, after a look at the databases that are not ours."""
    import django
    from django.core.management import call_command
    from django.db import connections
    from django.db.migrations.executor import MigrationExecutor

    from project.databases import refuse_unfit

    django.setup()
    refuse_unfit()
    for alias in connections:
        executor = MigrationExecutor(connections[alias])
        # `migrate` also looks for what to create after it (permissions, id ranges): a second's work, once is enough
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            call_command("migrate", database=alias, interactive=False, verbosity=0)
    connections.close_all()


@contextmanager
def term_raises() -> Iterator[None]:
    """Let SIGTERM end us as Ctrl-C does: through every `finally`."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
