"""Dense inverse search (OpenCV): Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV 2016."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from learner.domain.pace import give_way

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]


class InverseSearch:
    """Dense inverse search, OpenCV's medium preset with a weaker smoothness of its variational refinement.

    Args:
        alpha: weight of the smoothness. OpenCV's 20 is for natural scenes; structures of the body change more from one slice
            to the next (decision 0013).
    """

    def __init__(self, alpha: float = 5.0) -> None:
        self._alpha = alpha

    @property
    def key(self) -> str:
        """Name and settings."""
        return f"inverse-search {self._alpha:g}"

    def register(self, pairs: Sequence[tuple[ByteArray, ByteArray]]) -> list[FloatArray]:
        """Displacements of pairs (target, source); see :class:`learner.propagation.motion.Registration`."""
        found = []
        for target, source in pairs:
            give_way()
            displacement = self._search().calc(target, source, None)  # type: ignore[call-overload]  # stubs forbid None
            found.append(np.asarray(displacement, dtype=np.float32))
        return found

    def _search(self) -> cv2.DISOpticalFlow:
        """A new one for each pair: what it finds in slices under 48 pixels depends on what it was given before."""
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        search.setVariationalRefinementAlpha(self._alpha)
        return search
