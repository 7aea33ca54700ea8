"""Where a segmentation lies on the screen, against where it lies in the archive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ohif_harness import Ohif
from scipy import ndimage

from dicom_io.volume import ImageSeries

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
_COLOURED = 30
"""Difference of the channels from which a pixel is no grey of the image."""


@dataclass(frozen=True, eq=False)
class Overlay:
    """One slice as it is seen, on the image's own grid.

    Attributes:
        coloured_HW: whether the screen has a colour where the voxel's centre is.
        grey_HW: brightness there.
        voxels_HW: the image's values.
    """

    coloured_HW: BoolArray
    grey_HW: FloatArray
    voxels_HW: FloatArray

    @classmethod
    def of(cls, ohif: Ohif, images: ImageSeries, index: int) -> Overlay:
        """The slice that OHIF shows, which has to be slice ``index`` of the series, once its segmentation is painted."""
        assert ohif.shown == images.volume.series.sop_instance_uids[index]
        geometry = images.volume.geometry
        rows, columns = np.indices(geometry.shape[1:]).reshape(2, -1)
        voxels = np.stack([np.full(rows.size, index), rows, columns, np.ones(rows.size)])
        places = ohif.to_canvas((geometry.affine @ voxels)[:3].T)
        pixels = ohif.settled_pixels().astype(np.float64)
        at = np.vstack([places[:, 1], places[:, 0]]) - 0.5  # centre of a pixel of the screen
        red, green, blue = (
            ndimage.map_coordinates(pixels[..., channel], at, order=1, cval=0.0).reshape(geometry.shape[1:])
            for channel in range(3)
        )
        # Names and numbers of the viewer are white and blue: more blue than red. No segment of the tests is.
        return cls(red - blue > _COLOURED, green, np.asarray(images.volume.voxels_DHW[index], dtype=np.float64))

    def lies_on(self, mask_HW: BoolArray) -> None:
        """Asserts that image and segmentation are seen where they are, within a pixel of the image."""
        free = ~ndimage.binary_dilation(mask_HW | self.coloured_HW, iterations=2) & (self.voxels_HW > 0)
        fits = {shift: float(np.corrcoef(_moved(self.grey_HW, shift)[free], self.voxels_HW[free])[0, 1]) for shift in _SHIFTS}
        assert max(fits, key=lambda shift: fits[shift]) == (0, 0), f"the image is seen elsewhere: {fits}"
        agree = {shift: _dice(_moved(self.coloured_HW, shift), mask_HW) for shift in _SHIFTS}
        assert max(agree, key=lambda shift: agree[shift]) == (0, 0), f"the segmentation is seen elsewhere: {agree}"
        assert agree[0, 0] > 0.95, agree
        edges = ndimage.distance_transform_edt(~_edge(mask_HW))[_edge(self.coloured_HW)]
        assert np.quantile(edges, 0.98) <= 1.0, "edges lie within a pixel"
        centres = np.subtract(ndimage.center_of_mass(self.coloured_HW), ndimage.center_of_mass(mask_HW))
        assert np.hypot(*centres) < 0.5, f"centres are {centres} pixels apart"


_SHIFTS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]


def _moved(image_HW: npt.NDArray[np.generic], shift: tuple[int, int]) -> npt.NDArray[np.generic]:
    return np.roll(image_HW, shift, axis=(0, 1))


def _edge(mask_HW: BoolArray) -> BoolArray:
    return np.asarray(mask_HW & ~ndimage.binary_erosion(mask_HW))


def _dice(a: npt.NDArray[np.generic], b: BoolArray) -> float:
    return float(2 * np.count_nonzero(a & b) / max(np.count_nonzero(a) + np.count_nonzero(b), 1))
