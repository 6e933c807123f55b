"""Wiring: an app without models, which holds the commands that run the whole."""

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "project"
