"""What staff do with an account: pause, resume, resync; asked back first, and recorded."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase

from accounts.admin.base import confirm
from accounts.audit import record_staff_action
from accounts.models import Account, StaffAction, Status
from accounts.services import AccountNotFound, pause_account, resume_account
from sync.admin.opened import Opened
from sync.models import AccountSync
from sync.services.connecting import start_mirroring
from sync.services.schedule import request_pass


def pause(request: HttpRequest, opened: Opened) -> HttpResponseBase:
    """Stop mirroring the account."""
    question = (
        f"{opened.grant.email} is not mirrored any more until it is resumed; what is mirrored stays and is served."
    )
    return _act(request, opened, StaffAction.PAUSED, "Pause", question, _pause)


def resume(request: HttpRequest, opened: Opened) -> HttpResponseBase:
    """Mirror the account again."""
    question = f"{opened.grant.email} is mirrored again, at once; back-offs after failures are forgotten."
    return _act(request, opened, StaffAction.RESUMED, "Resume", question, _resume)


def resync(request: HttpRequest, opened: Opened) -> HttpResponseBase:
    """Compare the account with its server now."""
    question = f"Every folder of {opened.grant.email} is compared with the server now. Nothing is downloaded twice."
    return _act(request, opened, StaffAction.RESYNCED, "Resync", question, _resync)


def _act(
    request: HttpRequest,
    opened: Opened,
    action: StaffAction,
    word: str,
    question: str,
    do: Callable[[Opened], str],
) -> HttpResponseBase:
    """Ask, or on POST record and do, and say what came of it. `do` raises AccountNotFound or Refused."""
    back = opened.url("sync_account")
    if request.method != "POST":
        return confirm(
            request, opened.site, title=f"{word} {opened.grant.email}?", question=question, button=word, back=back
        )
    record_staff_action(request, action, account_id=opened.id)
    try:
        messages.success(request, do(opened))
    except (AccountNotFound, Refused) as error:
        messages.error(request, str(error))
    return HttpResponseRedirect(back)


class Refused(Exception):
    """What was asked for cannot be; the text says what to do first."""


def _pause(opened: Opened) -> str:
    changed = pause_account(account_id=opened.id)
    return f"Paused {opened.grant.email}." if changed else f"Nothing to do: {opened.grant.email} was paused already."


def _resume(opened: Opened) -> str:
    changed = resume_account(account_id=opened.id)
    start_mirroring(opened.id)
    return f"{'Resumed' if changed else 'Not paused:'} {opened.grant.email}; a look at it is due now."


def _resync(opened: Opened) -> str:
    status = Account.objects.filter(pk=opened.id).values_list("status", flat=True).first()
    if status != Status.VALID:
        raise Refused(f"Not compared: {opened.grant.email} is {status or 'gone'}. Resume it first.")
    if not AccountSync.objects.filter(pk=opened.id).exists():
        raise Refused(
            f"Not compared: {opened.grant.email} was never looked at. Pause it and resume it: that begins the mirror."
        )
    number = request_pass(account_id=opened.id)
    return f"Pass {number} of {opened.grant.email} is asked for; it is done when this page says so."
