"""What a check finds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is, from good to bad."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Found:
    """What a check found, without the check's name.

    Attributes:
        level: how bad it is.
        what: what is so.
        remedy: what to do; empty where there is nothing to do.
    """

    level: Level
    what: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        name: of the check; stays the same from version to version, so that monitoring can rely on it.
        level: how bad it is.
        what: what is so.
        remedy: what to do; empty where there is nothing to do.
    """

    name: str
    level: Level
    what: str
    remedy: str = ""


Findings = Iterator[Found]


def ok(what: str) -> Found:
    """All is well."""
    return Found(Level.OK, what)


def warning(what: str, remedy: str) -> Found:
    """The node works, but not as it could, or not for long."""
    return Found(Level.WARNING, what, remedy)


def error(what: str, remedy: str) -> Found:
    """Something does not work."""
    return Found(Level.ERROR, what, remedy)


def worst(findings: Iterable[Finding | Found]) -> Level:
    """The worst level of all; OK where there is none."""
    order = list(Level)
    return max((finding.level for finding in findings), key=order.index, default=Level.OK)
