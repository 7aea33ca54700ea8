"""Image series fetched from the archive, the last few kept in memory."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Collection

import numpy as np

from dicom_io.annotation import AnnotationHeader
from dicom_io.pacs.port import SeriesStatus, Source
from dicom_io.read_series import read_series
from dicom_io.volume import ImageSeries
from learner.app.intake import instances_digest
from learner.domain.case import Round
from learner.domain.pace import give_way

_DIGESTED = 4
Wanted = Collection[tuple[str, int]]


def images_of(header: AnnotationHeader) -> Wanted:
    """SOP Instance UID and frame number (0 for all frames) of what an annotation was drawn on."""
    return header.referenced_frames or tuple((uid, 0) for uid in header.referenced_sop_instance_uids)


def first_image(round_: Round) -> Wanted:
    """An image of the volume that a round was about; tells which of several volumes of a series that was."""
    found = round_.facts.get("first_image")
    return ((str(found[0]), int(found[1])),) if isinstance(found, list) else ()


def image_digest(images: ImageSeries) -> str:
    """What tells the same images under other UIDs: BLAKE2b of each fourth voxel along rows and columns, and of the shape."""
    voxels_DHW = np.ascontiguousarray(images.volume.voxels_DHW[:, ::_DIGESTED, ::_DIGESTED], dtype=np.float32)
    shape = "x".join(map(str, images.volume.geometry.shape))
    return hashlib.blake2b(voxels_DHW.tobytes(), key=shape.encode(), digest_size=16).hexdigest()


class SeriesImages:
    """Fetches and reads image series; a reader's next round on the same case finds it read already.

    Args:
        source: the archive.
        capacity_bytes: how many bytes of voxels are kept; the latest series stays whatever its size.
    """

    def __init__(self, source: Source, capacity_bytes: int) -> None:
        self._source = source
        self._capacity = capacity_bytes
        self._kept: OrderedDict[tuple[str, str, str], ImageSeries] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, series: SeriesStatus, wanted: Wanted = ()) -> ImageSeries:
        """The series as a volume; of a series of several volumes the one that holds ``wanted``, else the first.

        Args:
            series: as the archive has it.
            wanted: SOP Instance UID and frame number (0 for any) of images that it should hold.

        Raises:
            DicomIoError: it cannot be fetched, or is no volume.
        """
        key = (series.series_instance_uid, instances_digest(series))
        with self._lock:
            for name, images in self._kept.items():
                if name[:2] == key and _holds(images, wanted):
                    self._kept.move_to_end(name)
                    return images
        files = self._source.fetch_series(series)
        give_way()
        images = read_series(files, wanted)
        with self._lock:
            self._kept[*key, images.part] = images
            while len(self._kept) > 1 and self._bytes() > self._capacity:
                self._kept.popitem(last=False)
        return images

    def clear(self) -> None:
        """Keeps none of them."""
        with self._lock:
            self._kept.clear()

    def _bytes(self) -> int:
        return sum(images.volume.voxels_DHW.nbytes for images in self._kept.values())


def _holds(images: ImageSeries, wanted: Wanted) -> bool:
    """Whether the volume is the whole series, or the part of it that is meant."""
    if not images.part:
        return True
    own = {(one.sop_instance_uid, number) for one in images.slices for number in (0, one.frame_number)}
    return any(image in own for image in wanted)
