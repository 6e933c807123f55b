"""Connecting an account: log in to prove it, then store it and start mirroring."""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

from django.conf import settings

from accounts.changelog.recorder import lock_account
from accounts.discovery import ServersUnknown, discover
from accounts.services import NewAccount, store_account
from project.postgres import give_back
from project.shards import on_shard
from sync.errors import BadCredentials, MailError, Unreachable
from sync.mime.typed import check_typed_address
from sync.models import AccountSync, SyncState
from sync.providers import open_session
from sync.providers.addresses import check_host
from sync.providers.base import Login, Security
from sync.services.leases import ClockTimestamp
from sync.services.schedule import enqueue_accounts, raise_request

#: Seconds any single wait may take while connecting: every clear error comes within 20 s.
PATIENCE = 8.0
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


def connect_account(*, application_id: int, request: ConnectRequest) -> int:
    """Prove that the login works, store the account and start mirroring it; return its id.

    The same email in the same application is connected anew and keeps its mail. Raises InvalidSettings, or a MailError
    with its stage within 20 s; nothing is stored then.
    """
    complete = _completed(request)
    give_back()
    _prove_imap(complete)
    if complete.smtp_host:
        _prove_smtp(complete)
    account_id = store_account(_new_account(application_id, complete))
    start_mirroring(account_id)
    return account_id


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


def _completed(request: ConnectRequest) -> ConnectRequest:
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
    username = request.imap_username or email
    filled = replace(
        request,
        email=email,
        imap_username=username,
        smtp_username=request.smtp_username or username,
        smtp_password=request.smtp_password or request.imap_password,
    )
    return _with_security(filled if filled.imap_host else _with_hosts(filled))


def _with_hosts(request: ConnectRequest) -> ConnectRequest:
    try:
        found = discover(request.email)
    except ServersUnknown as error:
        raise InvalidSettings("imap_host", str(error)) from error
    return replace(
        request,
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


def _prove_imap(request: ConnectRequest) -> None:
    assert request.imap_host is not None
    assert request.imap_port is not None
    session = open_session(
        Login(
            provider=request.provider,
            host=request.imap_host,
            port=request.imap_port,
            security=cast(Security, request.imap_security),
            username=request.imap_username,
            password=request.imap_password,
            verify_certificates=request.verify_certificates,
            private_networks=tuple(map(str, settings.ALLOWED_PRIVATE_NETWORKS)),
            timeout=PATIENCE,
        )
    )
    try:
        session.folders()
    except MailError as error:
        error.stage = error.stage or "list"
        raise
    finally:
        session.close()


def _prove_smtp(request: ConnectRequest) -> None:
    """Log in to the SMTP server and hang up; sending nothing."""
    assert request.smtp_host is not None
    assert request.smtp_port is not None
    try:
        check_host(
            request.smtp_host,
            request.smtp_port,
            tuple(map(str, settings.ALLOWED_PRIVATE_NETWORKS)),
            plain=request.smtp_security == "none",
        )
        _log_in_to_smtp(request, request.smtp_host, request.smtp_port)
    except MailError as error:
        error.stage = "smtp"
        raise
    except smtplib.SMTPAuthenticationError as error:
        raise BadCredentials(f"the SMTP server refused the login (code {error.smtp_code})", stage="smtp") from error
    except (smtplib.SMTPException, OSError) as error:
        raise Unreachable(f"SMTP {request.smtp_host}:{request.smtp_port}: {error}", stage="smtp") from error


def _log_in_to_smtp(request: ConnectRequest, host: str, port: int) -> None:
    context = ssl.create_default_context()
    if not request.verify_certificates:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client: smtplib.SMTP
    if request.smtp_security == "tls":
        client = smtplib.SMTP_SSL(host, port, timeout=PATIENCE, context=context)
    else:
        client = smtplib.SMTP(host, port, timeout=PATIENCE)
    with client:
        if request.smtp_security == "starttls":
            client.starttls(context=context)
        client.login(request.smtp_username, request.smtp_password)


def _new_account(application_id: int, request: ConnectRequest) -> NewAccount:
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
