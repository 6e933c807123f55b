"""`make demo` from its start to its end: what it promises is done here as a reader of its output would do it."""

from __future__ import annotations

import http.cookiejar
import imaplib
import json
import re
import shlex
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.project.running import Installation, ringing, wait_until

pytestmark = pytest.mark.timeout(300)

PATIENCE = 120.0


def printed(demo: subprocess.Popen[str], until: str) -> str:
    """Return what the demo prints, up to the line that holds `until`."""
    assert demo.stdout is not None
    lines: list[str] = []
    with ringing(PATIENCE):
        while not lines or until not in lines[-1]:
            line = demo.stdout.readline()
            assert line, f"ended after {''.join(lines)!r}"
            lines.append(line)
    return "".join(lines)


def named(summary: str, name: str) -> str:
    """Return what the summary says of something."""
    found = re.search(rf"^{name} +(.+)$", summary, re.MULTILINE)
    assert found, summary
    return found[1]


def curl(line: str) -> dict[str, Any]:
    """Do what a line for curl says, as a shell would read it."""
    program, option, header, address = shlex.split(line)
    assert (program, option) == ("curl", "-H")
    name, _, value = header.partition(": ")
    with urllib.request.urlopen(urllib.request.Request(address, headers={name: value}), timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def mails(mailbox: Path) -> dict[str, int]:
    """Return how many mails each folder on disk has."""
    folders = [folder for folder in mailbox.rglob("*") if folder.is_dir()]
    return {str(folder.relative_to(mailbox)): len(list(folder.glob("*.eml"))) for folder in folders}


def table(summary: str) -> dict[str, int]:
    """Return the messages of each folder as the summary's table has them."""
    text = summary.partition("folder ")[2].partition("\n\n")[0]
    rows = re.findall(r"^(.+?) +(\d+) +\d+$", text, re.MULTILINE)
    return {name: int(messages) for name, messages in rows}


def letter(subject: str) -> EmailMessage:
    """Return a small mail."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "a@paperkite.test", "robin@paperkite.test", subject
    mail["Message-ID"] = f"<{subject.replace(' ', '.')}@paperkite.test>"
    mail.set_content("Hello.\n")
    return mail


def is_mirrored(messages: str, subject: str) -> bool:
    """Whether a message with a subject is in a list of the API; `messages` is a line for curl."""
    return subject in [message["subject"] for message in curl(messages)["data"]]


def log_in(address: str, user: str, password: str) -> str:
    """Log in to the admin with a form, as a browser does; return the page that is shown then."""
    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    form = f"{address}login/?next=/admin/"
    with browser.open(form, timeout=30) as page:
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.read().decode())
    assert token
    fields = {"csrfmiddlewaretoken": token[1], "username": user, "password": password}
    with browser.open(form, urllib.parse.urlencode(fields).encode(), timeout=30) as page:
        assert page.url == address
        return str(page.read().decode())


@pytest.fixture
def ended(installation: Installation) -> Iterator[None]:
    """Nothing is left of a demo afterwards."""
    yield
    assert installation.processes() == []


@pytest.mark.usefixtures("ended")
def test_demo_keeps_every_promise_of_its_summary(installation: Installation) -> None:
    demo = installation.start("demo")
    summary = printed(demo, "Ctrl-C stops everything")
    mailbox = installation.data_dir / "demo" / "mailbox"
    on_disk = mails(mailbox)

    counted = re.search(r"mirrored (\d+) messages and (\d+) drafts in \d+ threads of", summary)
    assert counted, summary
    assert int(counted[2]) == on_disk["Drafts"]
    assert int(counted[1]) == sum(on_disk.values()) - on_disk["Drafts"]
    assert {name: count for name, count in table(summary).items() if count} == {
        name: count for name, count in on_disk.items() if count
    }

    lines = [line.strip() for line in summary.splitlines() if line.startswith("  curl ")]
    grants, messages, changes = map(curl, lines)
    grant = named(summary, "grant")
    assert [found["id"] for found in grants["data"]] == [grant]
    assert len(messages["data"]) == 5
    assert all(message["unread"] and message["grant_id"] == grant for message in messages["data"])
    assert len(changes["data"]) == 20
    base = named(summary, "API").removesuffix("/v3")
    assert lines[0].endswith(f"Bearer {named(summary, 'API key')}' {base}/v3/grants")

    login = re.fullmatch(r"(\S+) +user (\S+), password (\S+)", named(summary, "admin"))
    assert login
    assert "Log out" in log_in(*login.groups())
    with urllib.request.urlopen(named(summary, "docs"), timeout=30) as page:
        assert page.status == 200

    arrives(demo, summary, mailbox, lines[1])
    demo.send_signal(signal.SIGINT)
    assert demo.wait(60) == 0, installation.log()
    assert "had to be killed" not in installation.log()


def arrives(demo: subprocess.Popen[str], summary: str, mailbox: Path, messages: str) -> None:
    """Let mail arrive both ways that the summary names, and find it in the API and on the terminal."""
    (mailbox / "INBOX" / "dropped.eml").write_bytes(letter("dropped as a file").as_bytes())
    assert wait_until(lambda: is_mirrored(messages, "dropped as a file"), PATIENCE)
    printed(demo, "arrived: dropped as a file, from a@paperkite.test")

    access = re.fullmatch(r"(\S+):(\d+), no TLS +user (\S+), password (\S+)", named(summary, "IMAP"))
    assert access
    with imaplib.IMAP4(access[1], int(access[2])) as box:
        box.login(access[3], access[4])
        box.append("INBOX", "", imaplib.Time2Internaldate(time.time()), letter("appended").as_bytes())
    assert wait_until(lambda: is_mirrored(messages, "appended"), PATIENCE)
    printed(demo, "arrived: appended, from a@paperkite.test")


@pytest.mark.usefixtures("ended")
def test_demo_that_is_stopped_while_it_mirrors_goes_on_the_next_time(installation: Installation) -> None:
    demo = installation.start("demo", "--once")
    assert wait_until(lambda: "connecting robin" in installation.log(), PATIENCE)
    demo.send_signal(signal.SIGTERM)
    assert demo.wait(60) == 1
    assert "stopped before the mailbox was mirrored" in installation.log()
    assert installation.processes() == []

    demo = installation.start("demo", "--once")
    assert wait_until(lambda: installation.log().count("starting the stack") == 2, PATIENCE)
    demo.send_signal(signal.SIGINT)
    assert demo.wait(60) == 1
    assert installation.processes() == []

    demo = installation.start("demo", "--once")
    on_disk = mails(installation.data_dir / "demo" / "mailbox")
    assert f"mirrored {sum(on_disk.values()) - on_disk['Drafts']} messages" in printed(demo, "include=object")
    assert demo.wait(60) == 0
