"""The default front end: signed distances carried along the motion between neighbouring slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import SparseAnnotation
from learner.domain.proxy import ProxyMask
from learner.propagation.confidence import DEFAULT_ERROR, ErrorModel
from learner.propagation.engine import Method, complete
from learner.propagation.motion import FlowMotion

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ChainedFlow:
    """Chained optical flow with two-sided blending of signed distances.

    Attributes:
        sigma: standard deviation in pixels of the window of the local normalisation.
        error: how uncertain contours become away from what is drawn.
    """

    sigma: float = 20.0
    error: ErrorModel = DEFAULT_ERROR

    @property
    def name(self) -> str:
        """``chained-flow``."""
        return "chained-flow"

    def propagate(
        self, image_DHW: FloatArray, spacing_DHW: tuple[float, float, float], annotation: SparseAnnotation
    ) -> ProxyMask:
        """Proxy mask of a volume; see :class:`learner.ports.Propagator`."""
        method = Method(self.name, lambda region_DHW: FlowMotion(region_DHW, self.sigma), error=self.error)
        return complete(image_DHW, spacing_DHW, annotation, method)
