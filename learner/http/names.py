"""Who asks, and who is told names of readers: people who are signed in, and nobody's machine."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated

from pydantic import PlainSerializer

if TYPE_CHECKING:
    from fastapi import Request  # takes long to load; commands have no use for it

names_are_told: ContextVar[bool] = ContextVar("names_are_told", default=True)
"""Whether whoever makes the present request is told names; commands on the node's own machine are."""

ReaderName = Annotated[str, PlainSerializer(lambda name: name if names_are_told.get() else "", return_type=str)]
"""Name of a reader in an answer; empty for machines."""


def asker(request: Request) -> str:
    """Name of the user or token that asks; an empty string where nobody is asked who they are."""
    return str(request.state.user.name)
