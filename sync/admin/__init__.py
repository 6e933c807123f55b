"""The admin of accounts for support staff: find one, see its folders, log and mail, pause, resume, resync.

The directory in `default` finds an account; what belongs to it is read from its shard, which its id tells.
"""

from __future__ import annotations

from sync.admin.directory import AccountAdmin

__all__ = ["AccountAdmin"]
