"""The admin in a real browser: staff log in, find an account, open a mail, and see that it was recorded."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as becomes
from selenium.webdriver.support.wait import WebDriverWait

from accounts.models import Application, AuditEntry
from tests.admin.browser import PATIENCE, chromium
from tests.api.conftest import ALIASES
from tests.api.mailbox import mail, make_mailroom

pytestmark = [pytest.mark.server("chromium"), pytest.mark.django_db(transaction=True, databases=ALIASES)]

PASSWORD = "correct horse battery"


class Tracker(http.server.BaseHTTPRequestHandler):
    """A server that wants to know who reads its mail."""

    asked: list[str]

    def do_GET(self) -> None:
        """Note what was asked for."""
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def tracker() -> Iterator[tuple[str, list[str]]]:
    """A server on this machine, and what was asked of it."""
    asked: list[str] = []
    handler = type("Asked", (Tracker,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    with chromium(tmp_path / "profile") as started:
        yield started


def hostile(tracker: str) -> str:
    """Return HTML that tries every way to reach its server, and to run."""
    return f"""<html><head><meta http-equiv="refresh" content="0;url={tracker}/refresh">
    <link rel="stylesheet" href="{tracker}/style.css"><link rel="prefetch" href="{tracker}/prefetch">
    <style>@import url("{tracker}/import.css"); body {{ background: url({tracker}/background.png) }}</style></head>
    <body onload="top.document.title='taken'"><p id="said">Dear Bob, the mill is sold.</p>
    <img src="{tracker}/pixel.png"><iframe src="{tracker}/frame"></iframe><object data="{tracker}/object"></object>
    <video src="{tracker}/video" autoplay></video><script src="{tracker}/script.js"></script>
    <script>document.body.innerHTML = 'it ran'; parent.document.title = 'taken'</script>
    <form action="{tracker}/form"><input type="submit"></form>
    <a id="out" href="{tracker}/link">click</a></body></html>"""


def test_staff_find_an_account_open_a_message_and_see_the_audit_entry(
    served: str, browser: Chrome, application: Application, tracker: tuple[str, list[str]]
) -> None:
    User.objects.create_superuser("ann", password=PASSWORD)
    room = make_mailroom(application, "bob@example.org", shard=1)
    site, asked = tracker
    message = room.add(mail("The old mill", text="Dear Bob, in plain words.", html=hostile(site)))
    wait = WebDriverWait(browser, PATIENCE)

    browser.get(f"{served}/admin/")
    browser.find_element(By.NAME, "username").send_keys("ann")
    browser.find_element(By.NAME, "password").send_keys(PASSWORD)
    browser.find_element(By.CSS_SELECTOR, "input[type=submit]").click()

    wait.until(becomes.element_to_be_clickable((By.CSS_SELECTOR, "#content-main a[href*=grantdirectory]"))).click()
    wait.until(becomes.element_to_be_clickable((By.ID, "searchbar"))).send_keys("bob@\n")
    wait.until(becomes.element_to_be_clickable((By.LINK_TEXT, "bob@example.org"))).click()
    wait.until(becomes.element_to_be_clickable((By.LINK_TEXT, "INBOX"))).click()
    wait.until(becomes.element_to_be_clickable((By.LINK_TEXT, "The old mill"))).click()
    assert "Message-ID" in wait.until(becomes.presence_of_element_located((By.ID, "headers"))).text
    assert not AuditEntry.objects.exists()

    browser.find_element(By.ID, "open-body").click()
    assert "in plain words" in wait.until(becomes.presence_of_element_located((By.ID, "text"))).text
    assert AuditEntry.objects.get().object_id == message.pk
    wait.until(becomes.frame_to_be_available_and_switch_to_it((By.ID, "html")))
    assert wait.until(becomes.presence_of_element_located((By.ID, "said"))).text == "Dear Bob, the mill is sold."
    # even what a reader clicks on leads nowhere
    browser.find_element(By.ID, "out").click()
    assert browser.find_element(By.ID, "said").is_displayed()
    browser.switch_to.default_content()
    assert browser.title.startswith("The old mill")

    browser.find_element(By.LINK_TEXT, "see the entry").click()
    row = wait.until(becomes.presence_of_element_located((By.CSS_SELECTOR, "#result_list tbody tr"))).text
    assert all(told in row for told in ("ann", "opened body", "bob@example.org", f"message {message.pk}", "127.0.0.1"))
    assert asked == []
