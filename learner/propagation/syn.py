"""The paper's registration: symmetric normalisation in 2-D (Avants et al., Medical Image Analysis 12(1), 2008; ANTs).

The package antspyx cannot be installed beside this project's pinned packages, so it is no dependency: this is for those who
build an environment in which both are. ``benchmarks/paper_registration.py`` compares with it in an environment of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

from learner.propagation.motion import identity

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]


class Syn:
    """SyN with the defaults of antspyx.

    Raises:
        ValueError: antspyx is not installed; says what to do.
    """

    def __init__(self) -> None:
        self._ants = _load()

    @property
    def key(self) -> str:
        """Name and settings."""
        return "syn"

    def register(self, pairs: Sequence[tuple[ByteArray, ByteArray]]) -> list[FloatArray]:
        """Displacements of pairs (target, source); see :class:`learner.propagation.motion.Registration`."""
        return [self._one(target, source) for target, source in pairs]

    def _one(self, target: ByteArray, source: ByteArray) -> FloatArray:
        ants = self._ants
        fixed, moving = (ants.from_numpy(pixels.astype(np.float32)) for pixels in (target, source))
        found = ants.registration(fixed, moving, "SyN", random_seed=1)
        own = identity(target.shape)
        transforms = found["fwdtransforms"]
        # the coordinates of the source carried to the target say where each pixel comes from; outside, it stays
        inside = ants.apply_transforms(fixed, ants.from_numpy(np.ones(source.shape, np.float32)), transforms).numpy()
        place = [ants.apply_transforms(fixed, ants.from_numpy(own[..., i]), transforms).numpy() for i in (0, 1)]
        for file in {*transforms, *found["invtransforms"]}:
            Path(file).unlink(missing_ok=True)
        displacement = np.stack(place, axis=-1) - own
        return np.asarray(np.where(inside[..., None] > 0.999, displacement, 0.0), dtype=np.float32)


def _load() -> ModuleType:
    try:
        import ants  # noqa: PLC0415 - no dependency of the project
    except ImportError as error:
        raise ValueError(
            f"propagator syn needs the package antspyx, which cannot be loaded ({error}); choose another propagator, or "
            "run benchmarks/paper_registration.py, which has it in an environment of its own"
        ) from None
    module: ModuleType = ants
    return module
