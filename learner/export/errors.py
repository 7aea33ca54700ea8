"""What can go wrong on the way out, and on a bundle's way in.

::

    ApprenticeError
    └── ExportError        there is nothing to export, or no place for it
    └── BundleRefused      a bundle cannot be the start of a task
"""

from __future__ import annotations

from learner.errors import ApprenticeError


class ExportError(ApprenticeError):
    """There is nothing to export, the folder is taken, or a package is missing; says what to do."""


class BundleRefused(ApprenticeError):
    """A MONAI bundle cannot be the start of a task; says what differs, and what to do."""

    def __init__(self, bundle: str, what: str, remedy: str) -> None:
        super().__init__(f"bundle {bundle}: {what}. {remedy}")
