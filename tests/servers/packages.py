"""Debian packages: installed by root, or unpacked without installing anything.

Unpacking needs no rights and disturbs nothing, so servers that conflict with Dovecot are got that way; Dovecot
itself and Chromium call their parts by fixed paths and must be installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

#: What is unpacked, below the repository; not under version control.
SERVERS = Path(__file__).resolve().parents[2] / "var" / "servers"
#: Asks invoke-rc.d and deb-systemd-invoke to start nothing.
POLICY = Path("/usr/sbin/policy-rc.d")


class PackagesFailed(Exception):
    """apt could not do it; the message is its own last line."""


def install(packages: Sequence[str]) -> None:
    """Install packages as root without what they merely recommend; no service is started. Raises PackagesFailed."""
    command = ["install", "-y", "--no-install-recommends", *packages]
    with no_service_starts(), _locked():
        try:
            _apt_get(*command)
        except PackagesFailed:
            # no lists yet, or older than what the mirror still has
            _apt_get("update")
            _apt_get(*command)


def unpack(name: str, packages: Sequence[str], *, with_dependencies: str) -> None:
    """Unpack packages into SERVERS/name, and those they depend on whose names match `with_dependencies`.

    Libraries that the system has are left out. Raises PackagesFailed; then nothing is left behind.
    """
    SERVERS.mkdir(parents=True, exist_ok=True)
    with _locked(), tempfile.TemporaryDirectory(dir=SERVERS, prefix=f"{name}.") as scratch:
        options = _lists_with(packages)
        downloads, tree = Path(scratch) / "downloads", Path(scratch) / "tree"
        downloads.mkdir()
        _apt_get(*options, "download", *_closure(packages, with_dependencies, options), directory=downloads)
        for archive in sorted(downloads.iterdir()):
            _run(["dpkg", "-x", str(archive), str(tree)])
        tree.chmod(0o755)
        shutil.rmtree(SERVERS / name, ignore_errors=True)
        tree.rename(SERVERS / name)


def library_path(tree: Path) -> str:
    """Tell LD_LIBRARY_PATH for programs of an unpacked tree."""
    libraries = (library for place in ("lib", "usr/lib") for library in (tree / place).rglob("lib*.so*"))
    return ":".join(sorted({str(library.parent) for library in libraries}))


def runs(tree: Path, program: str) -> bool:
    """True when a program of an unpacked tree is there with all its libraries."""
    if not (tree / program).is_file() or not shutil.which("ldd"):
        return False
    environ = {**os.environ, "LD_LIBRARY_PATH": library_path(tree)}
    ldd = subprocess.run(["ldd", str(tree / program)], capture_output=True, text=True, env=environ, check=False)
    return ldd.returncode == 0 and "not found" not in ldd.stdout


def _closure(packages: Sequence[str], pattern: str, options: Sequence[str]) -> list[str]:
    """Return packages and what they need, as far as the pattern allows and the system has it not."""
    found, fresh = set(packages), set(packages)
    while fresh:
        needed = {name for name in _dependencies(sorted(fresh), options) if re.fullmatch(pattern, name)} - found
        fresh = {name for name in needed if not (name.startswith("lib") and _installed(name))}
        found |= fresh
    return sorted(found)


def _dependencies(packages: Sequence[str], options: Sequence[str]) -> set[str]:
    """Tell what packages depend on; of alternatives the first."""
    chosen, alternative = set(), False
    listing = _run(["apt-cache", *options, "depends", "--important", *packages])
    for found in re.finditer(r"^ ([ |])(?:Pre)?Depends: ([^<\s]+)$", listing, re.MULTILINE):
        if not alternative:
            chosen.add(found[2].partition(":")[0])
        alternative = found[1] == "|"
    return chosen


def _installed(package: str) -> bool:
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.startswith("installed")


def _lists_with(packages: Sequence[str]) -> list[str]:
    """Make sure apt knows the packages; return the options with which it does.

    Lists of the system where it has them, else new ones: for root the system's, for a plain user private ones.
    """
    if _known(packages, []):
        return []
    private = [] if os.geteuid() == 0 else [*_private("State"), *_private("Cache")]
    if private and _known(packages, private):
        return private
    _apt_get(*private, "update")
    if not _known(packages, private):
        raise PackagesFailed(f"no package source has {' '.join(packages)}")
    return private


def _private(kind: str) -> list[str]:
    """Point a directory of apt's into ours, made as apt wants it."""
    directory = SERVERS / "apt" / kind.lower()
    for part in ("lists/partial", "archives/partial"):
        (directory / part).mkdir(parents=True, exist_ok=True)
    return ["-o", f"Dir::{kind}={directory}", "-o", "Dir::State::status=/var/lib/dpkg/status"]


def _known(packages: Sequence[str], options: Sequence[str]) -> bool:
    policy = _run(["apt-cache", *options, "policy", *packages])
    return len(re.findall(r"^  Candidate: \d", policy, re.MULTILINE)) == len(packages)


def _apt_get(*arguments: str, directory: Path | None = None) -> None:
    # root's apt would download as another account, which cannot write to our directories
    own_account = ["-o", "APT::Sandbox::User=root", "-o", "DPkg::Lock::Timeout=120"]
    _run(["apt-get", "-qq", *own_account, *arguments], directory=directory)


def _run(command: Sequence[str], *, directory: Path | None = None) -> str:
    """Run a command of the packaging system; return what it prints. Raises PackagesFailed."""
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=directory, env=environ, check=False
        )
    except FileNotFoundError as error:
        raise PackagesFailed(f"{command[0]} is not here: not Debian, nor Ubuntu") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise PackagesFailed(f"{' '.join(command[:2])}: {lines[-1]}")
    return done.stdout


@contextlib.contextmanager
def no_service_starts() -> Iterator[None]:
    """Keep packages from starting services; a policy that the machine has already is left as it is."""
    try:
        with POLICY.open("x") as policy:
            policy.write("#!/bin/sh\nexit 101\n")
    except FileExistsError:
        yield
        return
    try:
        POLICY.chmod(0o755)
        yield
    finally:
        POLICY.unlink()


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """One at a time, also between processes."""
    SERVERS.mkdir(parents=True, exist_ok=True)
    with (SERVERS / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
