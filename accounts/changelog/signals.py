"""Signals of the log: writes in bulk, which Django sends none for, and the news that an account changed."""

from __future__ import annotations

from django.dispatch import Signal

#: After rows of a logged model were written in bulk, within their transaction.
#: Sent with changes: Sequence[logged.Change], using: str.
post_bulk_save = Signal()

#: After rows of a logged model were deleted in bulk, within their transaction. Sent with changes, using.
post_bulk_delete = Signal()

#: After a commit that added transactions to an account's log. Sent with account_id: int. News travels upward by it.
account_changed = Signal()
