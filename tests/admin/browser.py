"""A headless Chromium of the test's own, driven by Debian's chromedriver; it reaches this machine and nothing else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

#: Seconds that a page may take on a busy machine.
PATIENCE = 60


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """Start one with an empty profile in a directory, and end it with the block."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    options.add_argument("--headless=new")
    options.add_argument(f"--user-data-dir={profile}")
    # small /dev/shm in containers
    options.add_argument("--disable-dev-shm-usage")
    options.add_argument("--disable-background-networking")
    options.add_argument("--window-size=1280,1000")
    # names other than ours do not resolve: nothing is asked of the world, whatever a page wants
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
    if os.geteuid() == 0:
        # Chromium's own sandbox refuses to run as root
        options.add_argument("--no-sandbox")
    # pages that block on alert() would hang the test instead of failing it
    options.set_capability("unhandledPromptBehavior", "ignore")
    browser = Chrome(options=options, service=Service(shutil.which("chromedriver") or "chromedriver"))
    try:
        browser.set_page_load_timeout(PATIENCE)
        yield browser
    finally:
        browser.quit()
