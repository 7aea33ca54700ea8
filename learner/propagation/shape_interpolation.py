"""A front end that does not look at the image: shape-based interpolation.

Raya and Udupa, Shape-based interpolation of multidimensional objects, IEEE TMI 9(1), 1990: signed distances of neighbouring
contours, blended linearly. Sufficient on thick slices, and wherever the image does not show the structure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import SparseAnnotation
from learner.domain.proxy import ProxyMask
from learner.propagation.confidence import DEFAULT_ERROR, ErrorModel
from learner.propagation.engine import Method, complete
from learner.propagation.motion import NoMotion

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ShapeInterpolation:
    """Signed distances blended in place.

    Attributes:
        error: how uncertain contours become away from what is drawn.
    """

    error: ErrorModel = DEFAULT_ERROR

    @property
    def name(self) -> str:
        """``shape-interpolation``."""
        return "shape-interpolation"

    def propagate(
        self, image_DHW: FloatArray, spacing_DHW: tuple[float, float, float], annotation: SparseAnnotation
    ) -> ProxyMask:
        """Proxy mask of a volume; see :class:`learner.ports.Propagator`."""
        method = Method(self.name, lambda _: NoMotion(), error=self.error)
        return complete(image_DHW, spacing_DHW, annotation, method)
