"""Where voxels are: the affine from array index to patient position."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Geometry:
    """A regular grid in the patient's coordinate system.

    Attributes:
        shape: voxels along slice, row and column index: ``(D, H, W)``.
        affine: 4x4 float64, from the homogeneous index ``(slice, row, column, 1)`` to LPS millimetres ``(x, y, z, 1)``
            of the voxel's centre (PS3.3 section C.7.6.2.1.1 with the slice axis added).
        frame_of_reference_uid: Frame of Reference UID (0020,0052) of the source, or one derived from the series where the
            source has none.
        frame_of_reference_is_derived: whether the UID was derived; such a grid is matched by SOP references alone.

    Raises:
        ValueError: if the shape is not positive or the affine is singular, not finite, or not 4x4.
    """

    shape: tuple[int, int, int]
    affine: FloatArray
    frame_of_reference_uid: str
    frame_of_reference_is_derived: bool = False

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"shape {self.shape} is no (slice, row, column)")
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.array_equal(affine[3], [0, 0, 0, 1]):
            raise ValueError("affine is no finite homogeneous 4x4 matrix")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise ValueError("affine is singular")
        if not self.frame_of_reference_uid:
            raise ValueError("a geometry needs a frame of reference")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @cached_property
    def spacing_DHW(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxel centres along slice, row and column index, in mm."""
        d, h, w = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(d), float(h), float(w)

    @cached_property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel in cubic millimetres."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @cached_property
    def _inverse(self) -> FloatArray:
        return np.asarray(np.linalg.inv(self.affine), dtype=np.float64)

    def to_patient(self, index: npt.ArrayLike) -> FloatArray:
        """LPS positions in mm, shape ``(..., 3)``, of indices ``(slice, row, column)``, shape ``(..., 3)``."""
        points = np.asarray(index, dtype=np.float64)
        return np.asarray(points @ self.affine[:3, :3].T + self.affine[:3, 3])

    def to_index(self, position: npt.ArrayLike) -> FloatArray:
        """Continuous indices ``(slice, row, column)``, shape ``(..., 3)``, of LPS positions in mm, shape ``(..., 3)``."""
        points = np.asarray(position, dtype=np.float64)
        return np.asarray(points @ self._inverse[:3, :3].T + self._inverse[:3, 3])

    def same_space(self, other: Geometry) -> bool:
        """Whether positions in both mean the same place: equal frames of reference, neither of them derived."""
        derived = self.frame_of_reference_is_derived or other.frame_of_reference_is_derived
        return not derived and self.frame_of_reference_uid == other.frame_of_reference_uid
