"""Every value that comes from the environment is read here, and is refused here, in one line, when it is wrong.

A reader takes the variable's name and what it may be; it raises `BadSetting` naming the variable, its value (never a
secret's) and what is allowed. An empty variable counts as unset. `NAME_FILE` names a file that holds the value of the
secret NAME.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: How many characters of a wrong value are shown.
SHOWN = 60


class BadSetting(ImproperlyConfigured):
    """A variable holds what we cannot use. Its text is one line for the operator."""


def refuse(name: str, value: str | None, allowed: str) -> BadSetting:
    """Return the refusal of a variable; `value` None: a secret, or unset, and not shown."""
    if value is None:
        return BadSetting(f"{name}: not usable; allowed: {allowed}")
    shown = value if len(value) <= SHOWN else value[:SHOWN] + "…"
    return BadSetting(f"{name}={shown!r}: allowed: {allowed}")


def raw(name: str) -> str | None:
    """Return a variable without white space around it; None: unset or empty."""
    return os.environ.get(name, "").strip() or None


def text(name: str, default: str) -> str:
    """Return a variable as it is."""
    return raw(name) or default


def integer(name: str, default: int, *, least: int, most: int) -> int:
    """Return a whole number between `least` and `most`, both included."""
    value = raw(name)
    if value is None:
        return default
    if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
        raise refuse(name, value, f"a whole number from {least} to {most}")
    return int(value)


def choice(name: str, default: str, allowed: Sequence[str]) -> str:
    """Return one of the words allowed, in lower case."""
    value = (raw(name) or default).lower()
    if value not in allowed:
        raise refuse(name, value, ", ".join(allowed))
    return value


def words(name: str) -> list[str]:
    """Return what stands between commas, in order."""
    return [word.strip() for word in (raw(name) or "").split(",") if word.strip()]


def networks(name: str) -> list[Network]:
    """Return networks in CIDR notation, comma-separated; none when unset."""
    found: list[Network] = []
    for word in words(name):
        try:
            found.append(ipaddress.ip_network(word))
        except ValueError:
            raise refuse(name, word, "networks such as 10.0.0.0/8 or fd00::/8, comma-separated") from None
    return found


def host_name(name: str, default: str) -> str:
    """Return an address or host name to listen on."""
    value = text(name, default)
    if not value.replace(".", "").replace("-", "").replace(":", "").isalnum():
        raise refuse(name, value, "an IP address or a host name")
    return value


def directory(name: str, default: Path) -> Path:
    """Return an absolute path; the directory need not exist yet."""
    return Path(raw(name) or default).expanduser().absolute()


def dotted_path(name: str) -> str | None:
    """Return the dotted path of a class, such as package.module.Class; None when unset."""
    value = raw(name)
    if value is not None and (not all(part.isidentifier() for part in value.split(".")) or "." not in value):
        raise refuse(name, value, "the dotted path of a class, such as package.module.Class")
    return value


def secret(name: str) -> str | None:
    """Return a secret from NAME, else from the file that NAME_FILE names; None: neither is set."""
    value = raw(name)
    path = raw(f"{name}_FILE")
    if value is not None or path is None:
        return value
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        raise refuse(f"{name}_FILE", path, "the path of a file that we can read") from None


def secret_or_made(name: str, kept_in: Path, *, may_make: bool, make: Callable[[], str] = secrets.token_urlsafe) -> str:
    """Return a secret; made once and kept below DATA_DIR where nobody set it and the database is embedded."""
    value = secret(name)
    if value is not None:
        return value
    if not may_make:
        raise BadSetting(f"{name}: not set; it must be, or {name}_FILE, when DATABASE_URL is an outside database")
    return kept_secret(kept_in / name, make)


def kept_secret(path: Path, make: Callable[[], str] = secrets.token_urlsafe) -> str:
    """Return the secret that a file of ours holds, made on first use; two processes agree on one."""
    try:
        if kept := path.read_text(encoding="utf-8").strip():
            return kept
    except FileNotFoundError:
        pass
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        draft.touch(mode=0o600)
        draft.write_text(make() + "\n", encoding="utf-8")
        try:
            # a link, unlike a rename, never replaces what another process has made meanwhile
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    except OSError as error:
        raise refuse(
            "DATA_DIR", str(path.parent.parent), f"a directory that we can write to ({error.strerror})"
        ) from None
    return path.read_text(encoding="utf-8").strip()


def url(name: str, schemes: Sequence[str], *, public: bool = False) -> SplitResult | None:
    """Return a URL of one of the schemes; None when unset. Unless it is public it may hold a password: never shown."""
    value = secret(name)
    if value is None:
        return None
    allowed = f"a URL beginning with {' or '.join(f'{scheme}://' for scheme in schemes)}"
    try:
        parts = urlsplit(value)
        usable = parts.scheme in schemes and (parts.hostname or parts.path or parts.query) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise refuse(name, value if public else None, allowed)
    return parts


def database(name: str) -> dict[str, object] | None:
    """Return the NAME, USER, PASSWORD, HOST, PORT and OPTIONS of a PostgreSQL URL; None when unset.

    What follows the question mark goes to libpq as it is (sslmode=require, host=/run/postgresql, ...).
    """
    parts = url(name, ["postgresql", "postgres"])
    if parts is None:
        return None
    if not parts.path.strip("/"):
        raise refuse(name, None, "postgresql://user:password@host:port/database, with the name of a database")
    return {
        "NAME": unquote(parts.path.strip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "OPTIONS": options_of(name, parts.query),
    }


def options_of(name: str, query: str) -> Mapping[str, str]:
    """Return the parameters of a database URL."""
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    if any(not key or not separator for key, separator, _ in pairs):
        raise refuse(name, None, "parameters of libpq after the question mark: name=value&name=value")
    return {unquote(key): unquote(value) for key, _, value in pairs}
