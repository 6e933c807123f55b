"""Ways to a mailbox: one module a protocol, all behind the interface of `base.py`."""

from __future__ import annotations

from importlib import import_module

from sync.providers.base import Login, MailSession

#: Login.provider -> the module whose `connect(login)` opens a session; imported when first used.
MODULES = {"imap": "sync.providers.imap", "memory": "sync.providers.memory"}


def open_session(login: Login) -> MailSession:
    """Log in and return the session. Raises any MailError, with its stage; ValueError: no such provider."""
    try:
        module = MODULES[login.provider]
    except KeyError:
        raise ValueError(f"no provider {login.provider!r}; there are {', '.join(sorted(MODULES))}") from None
    session: MailSession = import_module(module).connect(login)
    return session
