"""Propagators: the engine with a motion. Each has its name in ``learner.propagation``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import SparseAnnotation
from learner.domain.proxy import ProxyMask
from learner.propagation.confidence import DEFAULT_ERROR, ErrorModel
from learner.propagation.engine import Method, complete
from learner.propagation.inverse_search import InverseSearch
from learner.propagation.itk import BSpline, Demons
from learner.propagation.memory import Memory
from learner.propagation.motion import ChainedMotion, DirectMotion, NoMotion, Registration
from learner.propagation.syn import Syn
from learner.propagation.torch_flow import TorchFlow

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PlanePropagator:
    """Completes planes by a method; a :class:`learner.ports.Propagator`.

    Attributes:
        method: how.
    """

    method: Method

    @property
    def name(self) -> str:
        """Name of the method."""
        return self.method.name

    def propagate(
        self, image_DHW: FloatArray, spacing_DHW: tuple[float, float, float], annotation: SparseAnnotation
    ) -> ProxyMask:
        """Proxy mask of a volume; see :class:`learner.ports.Propagator`."""
        return complete(image_DHW, spacing_DHW, annotation, self.method)


def chained(
    name: str, registration: Registration, error: ErrorModel = DEFAULT_ERROR, memory: Memory | None = None
) -> PlanePropagator:
    """Signed distances carried along the chained motion between neighbouring slices, from both sides.

    Args:
        name: of the propagator.
        registration: of neighbouring slices.
        error: how uncertain contours become away from what is drawn.
        memory: of slices and displacements, one of its own if None.
    """
    kept = Memory() if memory is None else memory
    return PlanePropagator(Method(name, lambda region_DHW: ChainedMotion(region_DHW, registration, kept), error=error))


def chained_flow(error: ErrorModel = DEFAULT_ERROR, memory: Memory | None = None) -> PlanePropagator:
    """The default: dense inverse search flow."""
    return chained("chained-flow", InverseSearch(), error, memory)


def torch_flow(device: str = "auto", memory: Memory | None = None) -> PlanePropagator:
    """Flow of all neighbouring slices at once, for GPUs; ``device`` as torch names it, or ``auto``."""
    return chained("torch-flow", TorchFlow(device), memory=memory)


def demons(memory: Memory | None = None) -> PlanePropagator:
    """SimpleITK's demons between neighbouring slices."""
    return chained("demons", Demons(), memory=memory)


def b_spline(memory: Memory | None = None) -> PlanePropagator:
    """SimpleITK's free-form deformation between neighbouring slices."""
    return chained("b-spline", BSpline(), memory=memory)


def syn(memory: Memory | None = None) -> PlanePropagator:
    """As the paper: SyN from the nearest drawn slice straight to each slice. Signed distances are carried rather than masks.

    Raises:
        ValueError: antspyx is not installed.
    """
    registration, kept = Syn(), Memory() if memory is None else memory
    return PlanePropagator(Method("syn", lambda region_DHW: DirectMotion(region_DHW, registration, kept), nearest=True))


def shape_interpolation() -> PlanePropagator:
    """Without looking at the image: signed distances of neighbouring contours, blended in place.

    Raya and Udupa, Shape-based interpolation of multidimensional objects, IEEE TMI 9(1), 1990. Sufficient on thick slices, and
    wherever the image does not show the structure.
    """
    return PlanePropagator(Method("shape-interpolation", lambda _: NoMotion()))


def nearest_copy() -> PlanePropagator:
    """The nearest known plane, copied: what every other one has to beat."""
    return PlanePropagator(Method("nearest-copy", lambda _: NoMotion(), nearest=True))
