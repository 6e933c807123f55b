from __future__ import annotations

import json
import subprocess
import sys

import pytest

from sync.mime.typed import check_typed_address
from tests.sync.test_corpus import CORPUS


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("anna@example.org", "anna@example.org"),
        ("  Anna.Berg+lists@Example.org ", "Anna.Berg+lists@example.org"),
        ("Anna Berg <anna@example.org>", "anna@example.org"),
        ('"anna berg"@example.org', '"anna berg"@example.org'),
        ("anna@localhost", "anna@localhost"),
        ("dörte@sörensen.example", "dörte@sörensen.example"),
        ("anna@[192.0.2.1]", "anna@[192.0.2.1]"),
    ],
)
def test_good_address_is_taken_as_typed_but_for_the_case_of_its_host(typed: str, address: str) -> None:
    assert check_typed_address(typed) == address


@pytest.mark.parametrize(
    ("typed", "fault"),
    [
        ("", "no address given"),
        ("   ", "no address given"),
        ("anna", 'needs an "@"'),
        ("https://example.org/", 'needs an "@"'),
        ("@example.org", 'no name before the "@"'),
        ("anna@", 'no valid host name behind the "@"'),
        ("anna@example..org", 'no valid host name behind the "@"'),
        ("anna@exa mple.org", 'no valid host name behind the "@"'),
        ("anna..berg@example.org", 'no valid name before the "@"'),
        ("anna@berg@example.org", 'more than one "@"'),
        ("anna@example.org, bert@example.org", "more than one address"),
        ("anna@example.org\r\nBcc: all@example.org", "control characters"),
        ("anna\u202egro@example.org", "control characters"),
        ("a" * 250 + "@example.org", "at most 254 characters"),
    ],
)
def test_bad_address_is_refused_with_its_fault(typed: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        check_typed_address(typed)


def test_nothing_is_printed_or_warned_about() -> None:
    program = (
        "import logging, sys; logging.basicConfig(); from sync.mime.typed import check_typed_address as check\n"
        "check('anna@example.org')\n"
        "try: check('an\\\\na@example.org')\n"
        "except ValueError: sys.exit(0)\n"
        "sys.exit(1)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not here")
def test_addresses_of_the_corpus_are_told_apart() -> None:
    vectors = map(json.loads, (CORPUS / "units" / "vectors.jsonl").read_text(encoding="utf-8").splitlines())
    cases = {vector["input"]: vector["expect"] for vector in vectors if vector["kind"].startswith("mailbox_")}
    assert {typed: is_good(typed) for typed in cases} == cases


def is_good(typed: str) -> bool:
    try:
        return bool(check_typed_address(typed))
    except ValueError:
        return False
