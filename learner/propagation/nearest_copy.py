"""The simplest front end: each slice copies the drawn slice that is nearest. What every other one has to beat."""

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
class NearestCopy:
    """The nearest known plane, copied.

    Attributes:
        error: how uncertain contours become away from what is drawn.
    """

    error: ErrorModel = DEFAULT_ERROR

    @property
    def name(self) -> str:
        """``nearest-copy``."""
        return "nearest-copy"

    def propagate(
        self, image_DHW: FloatArray, spacing_DHW: tuple[float, float, float], annotation: SparseAnnotation
    ) -> ProxyMask:
        """Proxy mask of a volume; see :class:`learner.ports.Propagator`."""
        method = Method(self.name, lambda _: NoMotion(), nearest=True, error=self.error)
        return complete(image_DHW, spacing_DHW, annotation, method)
