"""Errors of the learner.

::

    ApprenticeError
    ├── ConfigurationError     a setting is wrong: names the file and the key
    ├── StoreError             the learner's own store cannot be used
    │   ├── StoreUnavailable   not for now: the disk is full, read-only, broken; nothing is lost, it is tried again
    │   ├── CorruptFile        a file does not have the hash that was recorded
    │   └── FolderInUse        another process works on the data folder
    └── LeaseLost              another worker has taken the job over

What archives and DICOM objects do wrong is :class:`dicom_io.errors.DicomIoError`.
"""

from __future__ import annotations

from dicom_io.whole_files import DamagedFile


class ApprenticeError(Exception):
    """Base of all errors of the learner; the message names the object and the remedy."""


class ConfigurationError(ApprenticeError):
    """A setting is missing, unknown or wrong; names the file and the key."""


class StoreError(ApprenticeError):
    """The learner's own store cannot be opened, read or written."""


class StoreUnavailable(StoreError):
    """The store cannot be used for now: its disk is full, read-only or broken. Names the folder, what is free, the remedy."""


class CorruptFile(StoreError, DamagedFile):
    """A file of the store does not have the hash that was recorded for it, or is not what was encrypted."""


class FolderInUse(StoreError):
    """Another process works on the data folder."""


class LeaseLost(ApprenticeError):
    """The lease ran out and another worker has the job; what was done under it is not recorded."""
