"""Image series fetched from the archive, the last few kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict

from dicom_io.pacs.port import SeriesStatus, Source
from dicom_io.read_series import read_series
from dicom_io.volume import ImageSeries
from learner.app.intake import instances_digest


class SeriesImages:
    """Fetches and reads image series; a reader's next round on the same case finds it read already.

    Args:
        source: the archive.
        capacity_bytes: how many bytes of voxels are kept; the latest series stays whatever its size.
    """

    def __init__(self, source: Source, capacity_bytes: int) -> None:
        self._source = source
        self._capacity = capacity_bytes
        self._kept: OrderedDict[tuple[str, str], ImageSeries] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, series: SeriesStatus) -> ImageSeries:
        """The series as a volume.

        Raises:
            DicomIoError: it cannot be fetched, or is no volume.
        """
        key = (series.series_instance_uid, instances_digest(series))
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        images = read_series(self._source.fetch_series(series))
        with self._lock:
            self._kept[key] = images
            while len(self._kept) > 1 and self._bytes() > self._capacity:
                self._kept.popitem(last=False)
        return images

    def _bytes(self) -> int:
        return sum(images.volume.voxels_DHW.nbytes for images in self._kept.values())
