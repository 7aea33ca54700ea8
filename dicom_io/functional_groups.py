"""Functional groups of multi-frame objects (PS3.3 section C.7.6.16), read once where frames repeat them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

_Value = TypeVar("_Value")


class Macro(Generic[_Value]):
    """One functional group macro, of which a value is wanted for each frame.

    The frames of one slice say the same place and the same source image, and those of one segment the same segment, in the same
    bytes. A few hundred are different among thousands, and pydicom takes a tenth of a millisecond for each.
    """

    def __init__(self, keyword: str, read: Callable[[Dataset], _Value]) -> None:
        """Args: the macro's sequence, and what reads its value from a group that holds it."""
        self._tag = Tag(keyword)
        self._read = read
        self._known: dict[bytes, _Value] = {}

    def of(self, group: Dataset) -> _Value | None:
        """The value in one item of a functional groups sequence; None where it does not hold the macro."""
        if self._tag not in group:
            return None
        # pydicom's own annotation is narrower
        element: DataElement | RawDataElement = group.get_item(self._tag, keep_deferred=True)
        if not isinstance(element, RawDataElement) or not element.value:
            return self._read(group)
        if element.value not in self._known:
            self._known[element.value] = self._read(Dataset({self._tag: element}))
        return self._known[element.value]
