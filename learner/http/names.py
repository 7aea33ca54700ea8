"""Names of readers are told to people who are signed in, and to nobody's machine."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Annotated

from pydantic import PlainSerializer

names_are_told: ContextVar[bool] = ContextVar("names_are_told", default=True)
"""Whether whoever makes the present request is told names; commands on the node's own machine are."""

ReaderName = Annotated[str, PlainSerializer(lambda name: name if names_are_told.get() else "", return_type=str)]
"""Name of a reader in an answer; empty for machines."""
