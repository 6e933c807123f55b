"""Get the real servers and tools that tests need: `python -m tests.servers.install [--check]`.

What is installed is used as it is. Root installs what is missing; a plain user gets a line for each thing missing,
and the tests without it. Under CI=true anything missing is an error.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers import packages
from tests.servers.packages import PackagesFailed


@dataclass(frozen=True, slots=True)
class Tool:
    """A server or program that tests need."""

    name: str
    packages: Sequence[str]
    present: Callable[[], bool]
    #: Not None: unpacked, not installed, with the dependencies whose names match.
    unpacked_with: str | None = None

    def get(self) -> None:
        """Install or unpack it. Raises PackagesFailed."""
        if self.unpacked_with is not None:
            packages.unpack(self.name, self.packages, with_dependencies=self.unpacked_with)
        elif os.geteuid() == 0:
            packages.install(self.packages)
        else:
            raise PackagesFailed("only root can install it")
        if not self.present():
            raise PackagesFailed("its packages came, but it is not in them")

    @property
    def remedy(self) -> str:
        """The command that gets it."""
        if self.unpacked_with is not None:
            return f"{shlex.quote(sys.executable)} -m tests.servers.install"
        return f"sudo apt-get install -y --no-install-recommends {' '.join(self.packages)}"


def _programs(*names: str) -> Callable[[], bool]:
    return lambda: all(map(shutil.which, names))


def _files(*paths: str) -> Callable[[], bool]:
    return lambda: all(Path(path).is_file() for path in paths)


def cyrus_tree() -> Path:
    """Tell below which directory Cyrus is: the root directory where it is installed."""
    return Path("/") if packages.runs(Path("/"), "usr/lib/cyrus/bin/imapd") else packages.SERVERS / "cyrus"


def courier_tree() -> Path:
    """Tell below which directory Courier is: the root directory where it is installed."""
    return Path("/") if _files("/usr/sbin/mkimapdcert")() else packages.SERVERS / "courier"


def _cyrus_present() -> bool:
    programs = ("usr/lib/cyrus/bin/imapd", "usr/lib/cyrus/bin/master", "usr/sbin/saslpasswd2")
    return all(packages.runs(cyrus_tree(), program) for program in programs)


def _courier_present() -> bool:
    return all(packages.runs(courier_tree(), f"usr/bin/{program}") for program in ("imapd", "maildirmake.courier"))


TOOLS = (
    Tool(
        "dovecot",
        ("dovecot-imapd", "dovecot-lmtpd"),
        _files("/usr/sbin/dovecot", "/usr/lib/dovecot/imap", "/usr/lib/dovecot/lmtp"),
    ),
    Tool("cyrus", ("cyrus-imapd", "sasl2-bin"), _cyrus_present, unpacked_with=r"lib.*|cyrus-common"),
    Tool("courier", ("courier-imap",), _courier_present, unpacked_with=r"lib.*|courier-(base|authlib)|gamin"),
    Tool("mbsync", ("isync",), _programs("mbsync")),
    Tool("chromium", ("chromium", "chromium-driver"), _programs("chromium", "chromedriver")),
)


def tool(name: str) -> Tool:
    """Find a tool by its name. Raises KeyError."""
    return {tool.name: tool for tool in TOOLS}[name]


def main(arguments: Sequence[str] | None = None) -> int:
    """Get what is missing, or only look (--check). Status 1: something is missing, with --check or under CI=true."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.install", description=__doc__)
    parser.add_argument("--check", action="store_true", help="install nothing")
    check = parser.parse_args(arguments).check
    missing = 0
    for wanted in TOOLS:
        reason = _get_missing(wanted, check=check)
        if reason:
            missing += 1
            print(f"missing: {wanted.name} ({reason}); its tests are skipped; get it with: {wanted.remedy}")
    return int(missing > 0 and (check or in_ci()))


def _get_missing(wanted: Tool, *, check: bool) -> str | None:
    """Get a tool unless it is there; return why it is still missing, None when it is there."""
    if wanted.present():
        return None
    if check:
        return "not installed"
    try:
        wanted.get()
    except PackagesFailed as error:
        return str(error)
    return None


def in_ci() -> bool:
    """True where a missing server is an error, not a reason to skip tests."""
    return os.environ.get("CI", "").lower() == "true"


if __name__ == "__main__":
    sys.exit(main())
