"""Reads the transaction log as any client does, and delivers it."""

from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "webhooks"
