"""Who stored which object, where the object itself does not say who drew it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class Authors(Protocol):
    """Names of signed-in people by the objects that they stored through the node."""

    def claim(self, sop_instance_uid: str, name: str) -> bool:
        """Remembers who is storing an object; the first who does so stays.

        Returns:
            Whether it was remembered: not if somebody else stored it, or if it was taken in already.
        """
        ...

    def disclaim(self, sop_instance_uids: Collection[str], name: str) -> None:
        """Forgets it: the archive did not take these."""
        ...

    def author_of(self, sop_instance_uid: str) -> str:
        """Who stored it, or an empty string."""
        ...
