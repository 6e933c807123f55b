"""Calling as a worker, a web process or a command does: with no shard at hand but what the callee takes itself."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")


def bare(call: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Result:
    """Call with an empty context."""
    return contextvars.Context().run(call, *args, **kwargs)
