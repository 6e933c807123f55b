"""The paths of the v3 wire. None ends in a slash; what is not here is answered 404 in the envelope."""

from __future__ import annotations

from django.urls import path

from api.views import attachments, changes, documentation, folders, grants, mail, sync, threads

G = "v3/grants/<str:grant>"

urlpatterns = [
    path("docs", documentation.docs, name="docs"),
    path("v3/openapi.json", documentation.OpenApiDocument.as_view(), name="openapi"),
    path("v3/applications", grants.ApplicationDetail.as_view()),
    path("v3/connect/custom", grants.ConnectCustom.as_view()),
    path("v3/grants", grants.GrantList.as_view()),
    path(G, grants.GrantDetail.as_view()),
    path(f"{G}/folders", folders.FolderList.as_view()),
    path(f"{G}/folders/<str:folder_id>", folders.FolderDetail.as_view()),
    path(f"{G}/messages", mail.MessageList.as_view()),
    path(f"{G}/messages/<str:message_id>", mail.MessageDetail.as_view()),
    path(f"{G}/messages/<str:message_id>/raw", mail.MessageRaw.as_view()),
    path(f"{G}/drafts", mail.DraftList.as_view()),
    path(f"{G}/drafts/<str:message_id>", mail.DraftDetail.as_view()),
    path(f"{G}/drafts/<str:message_id>/raw", mail.DraftRaw.as_view()),
    path(f"{G}/threads", threads.ThreadList.as_view()),
    path(f"{G}/threads/<str:thread_id>", threads.ThreadDetail.as_view()),
    path(f"{G}/attachments/<str:attachment_id>", attachments.AttachmentDetail.as_view()),
    path(f"{G}/attachments/<str:attachment_id>/download", attachments.AttachmentDownload.as_view()),
    path(f"{G}/changes", changes.ChangeList.as_view()),
    path(f"{G}/changes/latest", changes.LatestChange.as_view()),
    path(f"{G}/sync", sync.SyncView.as_view()),
]
