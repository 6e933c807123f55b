"""The admin for support staff: applications, API keys, the audit log. Accounts and their mail: `sync.admin`."""

from __future__ import annotations

from django.contrib import admin

from accounts.admin.applications import ApplicationAdmin
from accounts.admin.audit_log import AuditEntryAdmin
from accounts.admin.keys import ApiKeyAdmin

__all__ = ["ApiKeyAdmin", "ApplicationAdmin", "AuditEntryAdmin"]

admin.site.site_header = "Mailmirror"
admin.site.site_title = "Mailmirror"
admin.site.index_title = "Support"
# where "view site" leads
admin.site.site_url = "/docs"
