"""The whole, with a mailbox to look at."""

from __future__ import annotations

import io
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand, CommandParser
from django.db import connections

from project.data_dir import kept_port, secret_path
from project.demo import show
from project.demo.client import Api, Refused
from project.demo.mailbox import OWNER_ADDRESS, OWNER_NAME
from project.env import kept_secret
from project.procfile import Process
from project.stack import Stack, api_answers, local_host

#: Seconds until the stack must be ready, and the account mirrored.
START_PATIENCE = 120.0
MIRROR_PATIENCE = 300.0
#: Seconds between two new mails in the demo's mailbox.
NEW_MAIL_EVERY = 20
ADMIN = "admin"


class Command(BaseCommand):
    help = (
        "Run what `up` runs and a small IMAP server with a sample mailbox; connect it over the API and mirror it. "
        "Goes on until Ctrl-C, while new mail keeps arriving."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--once", action="store_true", help="end after the summary, and leave nothing running")

    def handle(self, *args: Any, once: bool, **options: Any) -> None:
        """Run until told to stop."""
        logs = settings.DATA_DIR / "logs"
        self.say(f"starting the stack (its logs: {logs})")
        stack = Stack(self.say, beside=[mail_server(once=once)], logs=logs)
        done = False
        with stack.running():
            self.wait_until_ready(stack, logs)
            api = Api(local_host(), settings.PORT, usable_key())
            since = self.mirror(stack, api)
            done = True
            if not once:
                self.show_arrivals(stack, api, *since)
        if once and not done:
            raise CommandError("stopped before the mailbox was mirrored")

    def say(self, line: str) -> None:
        """Tell how far we are."""
        self.stderr.write(line)
        self.stderr.flush()

    def wait_until_ready(self, stack: Stack, logs: Path) -> None:
        """Return when the stack can be used."""
        deadline = time.monotonic() + START_PATIENCE
        while not stack.is_ready():
            if time.monotonic() > deadline:
                what = "a worker" if api_answers() else "the API"
                raise CommandError(f"{what} does not answer after {START_PATIENCE:.0f} s; the reason is in {logs}")
            stack.tend()

    def mirror(self, stack: Stack, api: Api) -> tuple[str, str]:
        """Connect the demo's account and wait until it is mirrored; return its grant and the place in the log then."""
        self.say(f"connecting {OWNER_ADDRESS}")
        began = time.monotonic()
        grant = api.connect(account_settings())
        wanted = api.request_pass(grant)
        shown = show.measure()
        try:
            while True:
                state = api.sync_state(grant)
                shown.tell(state["messages_mirrored"], state["messages_known"])
                if state["completed"] >= wanted:
                    break
                if time.monotonic() > began + MIRROR_PATIENCE:
                    raise CommandError(f"not mirrored after {MIRROR_PATIENCE:.0f} s: {state}")
                stack.tend(0.2)
        finally:
            shown.end()
        since = api.latest(grant)
        self.summarize(api, grant, time.monotonic() - began)
        return grant, since

    def summarize(self, api: Api, grant: str, seconds: float) -> None:
        """Print what was mirrored and how to look at it."""
        messages = api.all(grant, "messages")
        drafts = api.all(grant, "drafts")
        threads = api.all(grant, "threads")
        files = [file for message in [*messages, *drafts] for file in message.get("attachments") or []]
        what = show.mirrored(OWNER_ADDRESS, messages, drafts, threads, files)
        base = settings.PUBLIC_URL
        self.stdout.write(
            "\n".join(
                [
                    "",
                    f"mirrored {what}, in {seconds:.1f} s",
                    "",
                    show.render(show.folder_table(api.all(grant, "folders"))),
                    "",
                    f"API      {base}/v3",
                    f"API key  {api.key}",
                    f"grant    {grant}",
                    f"admin    {base}/admin/   user {ADMIN}, password {admin_password()}",
                    f"docs     {base}/docs",
                    f"IMAP     {show.login(account_settings())}",
                    "",
                    "try:",
                    *(f"  {line}" for line in show.curl_lines(base, api.key, grant)),
                    "",
                ]
            )
        )
        self.stdout.flush()

    def show_arrivals(self, stack: Stack, api: Api, grant: str, since: str) -> None:
        """Tell of mail as it arrives in the mirror. Ends with Stopped."""
        self.stdout.write(
            f"a new mail arrives every {NEW_MAIL_EVERY} s, and whenever you drop an .eml file into "
            f"{mailbox_directory() / 'INBOX'}; Ctrl-C stops everything"
        )
        self.stdout.flush()
        while True:
            stack.tend(0.5)
            try:
                arrived, since = api.arrivals(grant, since, wait=0)
            except (OSError, Refused):
                # the web process is being restarted: look again
                continue
            for message in arrived:
                sender = (message.get("from") or [{}])[0].get("email", "nobody")
                self.stdout.write(f"arrived: {message.get('subject') or '(no subject)'}, from {sender}")
            self.stdout.flush()


def mail_server(*, once: bool) -> Process:
    """Return the demo's mail server: the same port, password and mailbox at each start."""
    home = mailbox_directory()
    home.mkdir(parents=True, exist_ok=True)
    password = kept_secret(secret_path(settings.DATA_DIR, "demo_mail"))
    assert password
    command = [
        *(sys.executable, "-m", "project.demo.server", "--dir", str(home), "--sample"),
        *("--port", str(kept_port(settings.DATA_DIR, "demo_imap")), "--user", OWNER_ADDRESS),
        *("--password-file", str(secret_path(settings.DATA_DIR, "demo_mail"))),
        *([] if once else ["--new-mail-every", str(NEW_MAIL_EVERY)]),
    ]
    return Process("demo-mail", shlex.join(command))


def mailbox_directory() -> Path:
    """Return where the demo's mail is: a folder a mailbox, a file a message."""
    home: Path = settings.DATA_DIR / "demo" / "mailbox"
    return home


def account_settings() -> dict[str, Any]:
    """Return what connects the demo's account: plain IMAP, which only this machine sees."""
    return {
        "email": OWNER_ADDRESS,
        "name": OWNER_NAME,
        "imap_username": OWNER_ADDRESS,
        "imap_password": kept_secret(secret_path(settings.DATA_DIR, "demo_mail")),
        "imap_host": "127.0.0.1",
        "imap_port": kept_port(settings.DATA_DIR, "demo_imap"),
        "imap_security": "none",
    }


def usable_key() -> str:
    """Return the key that an earlier run made, while it is valid, else a new one."""
    path = secret_path(settings.DATA_DIR, "demo_api_key")
    key = kept_secret(path, new_key)
    if not Api(local_host(), settings.PORT, key).knows_key():
        path.unlink()
        key = kept_secret(path, new_key)
    return key


def new_key() -> str:
    """Return a new API key."""
    printed = io.StringIO()
    call_command("create_api_key", "demo", stdout=printed)
    connections.close_all()
    return printed.getvalue().strip()


def admin_password() -> str:
    """Return the password of the admin's login, which is made when it is missing; nobody's own password is changed."""
    password = kept_secret(secret_path(settings.DATA_DIR, "demo_admin"))
    users = get_user_model()._default_manager
    user = users.filter(username=ADMIN).first()
    if user is None:
        users.create_superuser(username=ADMIN, password=password)
        shown = password
    else:
        shown = password if user.check_password(password) else "(as it was set)"
    connections.close_all()
    return shown
