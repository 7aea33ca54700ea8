"""Errors of the demo; each says what is missing and what to do."""

from __future__ import annotations

from learner.errors import ApprenticeError


class DemoError(ApprenticeError):
    """The demo cannot go on: one line that says why, and what to do about it."""
