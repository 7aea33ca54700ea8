"""How much of an object is read: whoever may store in an archive decides what these bytes say.

Each limit lies well above what clinical objects need, and low enough that no single object takes the node's memory or minutes
of its time. What exceeds one is refused with an error that names the limit.
"""

from __future__ import annotations

from collections.abc import Sequence

from dicom_io.errors import UnsupportedObject

MAX_INFLATED_BYTES = 256 << 20
"""Greatest size of a dataset in Deflated Explicit VR Little Endian once it is inflated; pydicom holds it up to three times.
Deflate reaches 1000:1, so a file of one megabyte can claim a gigabyte. Real ones are documents and segmentations."""

MAX_ITEMS = 200_000
"""Most items of sequences, in one object or in all images of a series together. pydicom takes about 12 microseconds for each,
2.5 s for all of them; a segmentation of 16,000 frames has as many."""

MAX_ELEMENTS = 20_000
"""Most elements at the top level of a dataset, where some hundreds are usual."""

MAX_READS = 4_000_000
"""Most pieces that a dataset, or all images of a series, may be read in: elements, two or three each, and items of sequences of
undefined length. An element takes about 3 microseconds and 300 bytes of memory."""

MAX_NESTING = 64
"""Deepest content tree that is walked. Reports nest about ten levels; the interpreter's own limit is met at some hundreds."""

MAX_PIXELS = 1 << 32
"""Most pixels of one object over all of its frames, as they are unpacked: 16,000 frames of 512 x 512."""

MAX_MASK_VOXELS = 1 << 33
"""Most voxels over all masks of one annotation (segments times the voxels of the source), one byte each: 100 segments on
300 slices of 512 x 512."""

MAX_CONTOUR_POINTS = 5_000_000
"""Most points over all contours of one annotation: 250 slices of 20 structures with 1,000 points each. Ten million took 8 s and
3 GB in a structure set."""

DECODER_MEMORY_BYTES = 4 << 30
"""Address space of the process that decodes compressed pixels: a frame of 16,384 x 16,384 in JPEG 2000 needs about 2 GiB."""

DECODER_SECONDS = 4.0
"""Most processor time that one compressed frame may take; 4,096 x 4,096 in JPEG 2000 takes about one second."""


def refuse_excess(name: str, what: str, amount: int, limit: int) -> None:
    """Refuses ``amount`` of ``what`` where it exceeds ``limit``.

    Raises:
        UnsupportedObject: it does.
    """
    if amount > limit:
        remedy = "Split it, or report that such objects are wanted; the limits are in dicom_io/limits.py."
        raise UnsupportedObject(name, f"{amount} {what} are more than the {limit} that are read", remedy)


def refuse_many_pixels(name: str, shape: Sequence[int]) -> None:
    """Refuses frames ``(frame, row, column)`` that announce more than :data:`MAX_PIXELS`, before memory is taken for them.

    Raises:
        UnsupportedObject: they do.
    """
    amount = 1
    for size in shape:
        amount *= int(size)
    refuse_excess(name, "pixels", amount, MAX_PIXELS)
