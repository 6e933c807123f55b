"""Connecting an account: log in to prove it, then store it and start mirroring."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, cast

from django.conf import settings

from accounts.changelog.recorder import lock_account
from accounts.discovery import Internet, ServersUnknown, discover
from accounts.services import NewAccount, store_account
from project.postgres import give_back
from project.shards import on_shard
from sync.errors import MailError
from sync.mime.typed import check_typed_address
from sync.models import AccountSync, SyncState
from sync.providers import open_session
from sync.providers.base import Login, Security
from sync.providers.smtp import prove_smtp
from sync.services.leases import ClockTimestamp
from sync.services.schedule import enqueue_accounts, raise_request

#: Seconds any single wait may take while connecting ...
PATIENCE = 8.0
#: ... looking for servers where none are named ...
DISCOVERY_SECONDS = 8.0
#: ... and all of it: every clear error comes within 20 s, also from a busy machine.
CONNECT_SECONDS = 15.0
#: Whether a connection to a port begins in TLS (RFC 8314 3).
_BY_PORT: dict[int, Security] = {993: "tls", 465: "tls", 143: "starttls", 587: "starttls"}


class InvalidSettings(ValueError):
    """What was asked for cannot be: `field` names the setting, the message says what is allowed."""

    def __init__(self, field_name: str, message: str) -> None:
        super().__init__(f"{field_name}: {message}")
        self.field = field_name


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    """What a user gives to connect an account; hosts are discovered where they are None."""

    provider: str = "imap"
    email: str = ""
    imap_username: str = ""
    imap_password: str = field(default="", repr=False)
    imap_host: str | None = None
    imap_port: int | None = None
    imap_security: str | None = None
    smtp_host: str | None = None
    smtp_port: int | None = None
    smtp_security: str | None = None
    smtp_username: str = ""
    smtp_password: str = field(default="", repr=False)
    verify_certificates: bool = True
    sync_days: int | None = None
    exclude_folders: tuple[str, ...] = ()
    headers_first: bool = False
    name: str = ""
    state: str = ""


def connect_account(*, application_id: int, request: ConnectRequest, internet: Internet | None = None) -> int:
    """Prove that the login works, store the account and start mirroring it; return its id.

    The same email in the same application is connected anew and keeps its mail. Raises InvalidSettings, or a MailError
    with its stage within 20 s; nothing is stored then. `internet`: where servers are looked for; None: as the settings
    say.
    """
    account_id = store_account(new_account(application_id, prove(request, internet)))
    start_mirroring(account_id)
    return account_id


def prove(request: ConnectRequest, internet: Internet | None = None) -> ConnectRequest:
    """Return the request with what it leaves open filled in, once both logins worked; raises as connecting does."""
    deadline = time.monotonic() + CONNECT_SECONDS
    give_back()
    complete = _completed(request, internet)
    _prove_imap(complete, deadline)
    if complete.smtp_host:
        prove_smtp(_login(complete, "smtp", deadline))
    return complete


def start_mirroring(account_id: int) -> None:
    """Make an account due at once: its folders are listed and mirrored by the workers."""
    with on_shard(account_id):
        with lock_account(account_id):
            AccountSync.objects.get_or_create(account_id=account_id)
            raise_request(account_id)
            now = ClockTimestamp()
            AccountSync.objects.filter(account_id=account_id).update(next_look_at=now, failures=0, queued_at=None)
            SyncState.objects.filter(account_id=account_id).update(next_sync_at=now, failures=0, queued_at=None)
        enqueue_accounts([account_id])


def _completed(request: ConnectRequest, internet: Internet | None) -> ConnectRequest:
    """Fill in what was not given: address, user names, hosts, ports, security; raise InvalidSettings."""
    if request.provider not in ("imap", "memory"):
        raise InvalidSettings("provider", f"{request.provider!r} cannot be connected; allowed: imap")
    email = request.email or (request.imap_username if "@" in request.imap_username else "")
    if not email:
        raise InvalidSettings("email", "needed where imap_username is not an email address")
    try:
        email = check_typed_address(email)
    except ValueError as error:
        raise InvalidSettings("email", str(error)) from error
    if not request.imap_password:
        raise InvalidSettings("imap_password", "needed")
    named = replace(request, email=email, imap_username=request.imap_username or email)
    named = _with_security(named if named.imap_host else _with_hosts(named, internet))
    return replace(
        named,
        smtp_username=named.smtp_username or named.imap_username,
        smtp_password=named.smtp_password or named.imap_password,
    )


def _with_hosts(request: ConnectRequest, internet: Internet | None) -> ConnectRequest:
    try:
        found = discover(request.email, internet=internet, seconds=DISCOVERY_SECONDS)
    except ServersUnknown as error:
        raise InvalidSettings("imap_host", str(error)) from error
    # a name that the user chose stands; the address is what people give who know of no other
    by_address = request.imap_username.casefold() == request.email.casefold()
    return replace(
        request,
        imap_username=found.username if found.username and by_address else request.imap_username,
        imap_host=found.imap_host,
        imap_port=request.imap_port or found.imap_port,
        imap_security=request.imap_security or found.imap_security,
        smtp_host=request.smtp_host or found.smtp_host,
        smtp_port=request.smtp_port or found.smtp_port,
        smtp_security=request.smtp_security or found.smtp_security,
    )


def _with_security(request: ConnectRequest) -> ConnectRequest:
    imap_port = request.imap_port or (143 if request.imap_security in ("starttls", "none") else 993)
    smtp_port = request.smtp_port or (587 if request.smtp_security in ("starttls", "none") else 465)
    for name, port in (("imap_port", imap_port), ("smtp_port", smtp_port)):
        if not 1 <= port <= 65535:
            raise InvalidSettings(name, f"{port} is not a port; allowed: 1 to 65535")
    security = {}
    for name, given, port in (
        ("imap_security", request.imap_security, imap_port),
        ("smtp_security", request.smtp_security, smtp_port),
    ):
        security[name] = given or _BY_PORT.get(port, "tls")
        if security[name] not in ("tls", "starttls", "none"):
            raise InvalidSettings(name, f"{given!r}; allowed: tls, starttls, none")
    return replace(request, imap_port=imap_port, smtp_port=smtp_port, **cast(Any, security))


def _prove_imap(request: ConnectRequest, deadline: float) -> None:
    try:
        with closing(open_session(_login(request, "imap", deadline))) as session:
            session.folders()
    except MailError as error:
        error.stage = error.stage or "list"
        raise


def _login(request: ConnectRequest, server: Literal["imap", "smtp"], deadline: float) -> Login:
    """The login to one of the two servers, which must be over by the deadline."""
    given = asdict(request)
    return Login(
        provider=request.provider,
        host=given[f"{server}_host"],
        port=given[f"{server}_port"],
        security=given[f"{server}_security"],
        username=given[f"{server}_username"],
        password=given[f"{server}_password"],
        verify_certificates=request.verify_certificates,
        private_networks=tuple(map(str, settings.ALLOWED_PRIVATE_NETWORKS)),
        timeout=PATIENCE,
        deadline=deadline,
    )


def new_account(application_id: int, request: ConnectRequest) -> NewAccount:
    """Return what is stored of a request: its settings, which clients see, apart from its secrets."""
    hidden = {"provider", "name", "state", "imap_password", "smtp_password"}
    shown = {name: value for name, value in asdict(request).items() if name not in hidden and value is not None}
    shown["exclude_folders"] = list(request.exclude_folders)
    return NewAccount(
        application_id=application_id,
        email=request.email,
        provider=request.provider,
        settings=shown,
        secrets={"imap_password": request.imap_password, "smtp_password": request.smtp_password},
        name=request.name,
        state=request.state,
    )
