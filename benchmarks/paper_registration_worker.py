"""Warps masks by SyN; runs in an environment that has antspyx and nothing of this project. See ``paper_registration.py``.

    python paper_registration_worker.py PAIRS.npz RESULT.npz

``PAIRS`` holds ``fixed``, ``moving`` and ``mask``, each ``(N, H, W)``. ``RESULT`` gets ``warped``, float32 ``(N, H, W)``: each
mask as the registration of its slice carries it, interpolated; and ``seconds``, CPU seconds of all of them together.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import ants
import numpy as np


def warp(fixed: np.ndarray, moving: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mask of ``moving`` as it lies on ``fixed``, by SyN with the package's defaults."""
    target, source, drawn = (ants.from_numpy(pixels.astype(np.float32)) for pixels in (fixed, moving, mask))
    found = ants.registration(target, source, "SyN", random_seed=1)
    warped = ants.apply_transforms(target, drawn, found["fwdtransforms"]).numpy()
    for file in {*found["fwdtransforms"], *found["invtransforms"]}:
        Path(file).unlink(missing_ok=True)
    return warped.astype(np.float32)


def main() -> None:
    """Reads the pairs, writes the result."""
    with np.load(sys.argv[1]) as pairs:
        triples = list(zip(pairs["fixed"], pairs["moving"], pairs["mask"], strict=True))
    began = time.process_time()
    warped = [warp(*triple) for triple in triples]
    np.savez(sys.argv[2], warped=np.array(warped, np.float32), seconds=time.process_time() - began)


if __name__ == "__main__":
    main()
