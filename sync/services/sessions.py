"""The only door to the providers: turns an account into a login, and keeps sessions warm between pieces of work."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.conf import settings

from accounts.models import Account
from accounts.services import read_secrets
from project.postgres import give_back
from sync.errors import MailError, ServerMisbehaved, Throttled, Unreachable
from sync.providers import open_session
from sync.providers.base import Login, MailSession

#: Seconds a session stays open after work, for the next piece.
KEEP_WARM = 60.0
#: Connections of one account at once, in this process.
MOST_SESSIONS = 3
#: Seconds to wait for one of these to get free: well below a lease.
PATIENCE = 20.0


@dataclass(slots=True)
class _Warm:
    session: MailSession
    login: Login
    idle_since: float


@dataclass(slots=True)
class _Pool:
    """Sessions by account. Guarded by a lock that is never held over the network."""

    #: Notified when a place for a session gets free.
    lock: threading.Condition = field(default_factory=threading.Condition)
    warm: dict[int, list[_Warm]] = field(default_factory=lambda: defaultdict(list))
    in_use: dict[int, int] = field(default_factory=lambda: defaultdict(int))


_pool = _Pool()


@contextmanager
def session(account_id: int) -> Iterator[MailSession]:
    """Borrow a logged-in session of the account; raises any MailError.

    Gives this greenlet's database connection back first, and the session is closed, not kept, after an error that
    leaves it unusable. Call inside `on_shard(account_id)`.
    """
    login = login_of(Account.objects.get(pk=account_id))
    give_back()
    _reserve(account_id)
    borrowed: MailSession | None = None
    sound = False
    try:
        borrowed = _take_warm(account_id, login) or open_session(login)
        yield borrowed
        sound = True
    except (Unreachable, ServerMisbehaved):
        raise
    except MailError:
        sound = borrowed is not None
        raise
    finally:
        _return(account_id, login, borrowed if sound else None)
        if borrowed is not None and not sound:
            borrowed.close()


def login_of(account: Account) -> Login:
    """Turn an account into what a provider needs to log in."""
    given = account.settings
    secrets = read_secrets(account.pk)
    return Login(
        provider=account.provider,
        host=given["imap_host"],
        port=given["imap_port"],
        security=given["imap_security"],
        username=given["imap_username"],
        password=secrets["imap_password"],
        verify_certificates=given.get("verify_certificates", True),
        private_networks=tuple(map(str, settings.ALLOWED_PRIVATE_NETWORKS)),
        timeout=30.0,
    )


def close_idle(*, older_than: float = KEEP_WARM) -> int:
    """Close the sessions that nobody used for `older_than` seconds; return how many."""
    limit = time.monotonic() - older_than
    with _pool.lock:
        stale = []
        for account_id, kept in list(_pool.warm.items()):
            stale += [one.session for one in kept if one.idle_since <= limit]
            _pool.warm[account_id] = [one for one in kept if one.idle_since > limit]
            if not _pool.warm[account_id]:
                del _pool.warm[account_id]
    for one in stale:
        one.close()
    return len(stale)


def _reserve(account_id: int) -> None:
    """Take one of the account's places, waiting for it: many folders are due at once when a mailbox is new."""
    until = time.monotonic() + PATIENCE
    with _pool.lock:
        while _pool.in_use[account_id] >= MOST_SESSIONS:
            left = until - time.monotonic()
            if left <= 0:
                raise Throttled(f"{MOST_SESSIONS} connections of this account are in use", retry_after=1)
            _pool.lock.wait(left)
        _pool.in_use[account_id] += 1


def _take_warm(account_id: int, login: Login) -> MailSession | None:
    close_idle()
    with _pool.lock:
        kept = _pool.warm.get(account_id, [])
        while kept:
            one = kept.pop()
            if one.login == login:
                return one.session
            one.session.close()
    return None


def _return(account_id: int, login: Login, sound: MailSession | None) -> None:
    with _pool.lock:
        _pool.in_use[account_id] -= 1
        if not _pool.in_use[account_id]:
            del _pool.in_use[account_id]
        if sound is not None:
            _pool.warm[account_id].append(_Warm(sound, login, time.monotonic()))
        _pool.lock.notify_all()
