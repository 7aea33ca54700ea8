"""Who asks, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_LONGEST_NAME = 64


class Role(StrEnum):
    """What somebody may do; each role may do what those before it may."""

    NONE = "none"
    """Nobody is signed in."""
    READER = "reader"
    """Sees everything, draws, and tells the node to look."""
    OPERATOR = "operator"
    """Takes up again what failed, holds training back, compares versions."""
    ADMIN = "admin"
    """Decides which version of a model serves."""

    def covers(self, needed: Role) -> bool:
        """Whether whoever has this role may do what needs that one."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(needed)


@dataclass(frozen=True, slots=True)
class User:
    """Who asks.

    Attributes:
        name: of the user or the token; empty where nobody is signed in, or nobody has to be.
        role: what they may do.
        is_person: whether it is a person rather than a machine's token; only persons are readers.
    """

    name: str
    role: Role
    is_person: bool = False


NOBODY = User("", Role.NONE)
EVERYBODY = User("", Role.ADMIN)
"""Whoever asks a node that asks nobody who they are."""


def is_name(text: str) -> bool:
    """Whether users and tokens may be called that: 1 to 64 printable characters, no space at either end."""
    return 0 < len(text) <= _LONGEST_NAME and text.isprintable() and text == text.strip()
