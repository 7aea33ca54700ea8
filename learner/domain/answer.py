"""The answer to one round: what goes back to the PACS, before it is DICOM."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learner.domain.guidance import Guidance

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Answer:
    """What the learner makes of a case in one round.

    Attributes:
        labels_DHW: uint8 fused prediction; exact on drawn slices.
        soft_CDHW: float32 fused probabilities.
        residual_DHW: float32 in [0, 1], disagreement of front and back end of this round; of the back end with its previous
            prediction where nothing is drawn; zeros where there is only one of them.
        change_DHW: float32 in [0, 1], disagreement of this round's back end with that of the previous round.
        guidance: the slices worth drawing next.
        proxy_labels_DHW: uint8 proxy mask made hard, or None in round 0.
        estimated_dice: per label 1..L, the Dice that ``labels_DHW`` may be expected to have, judged by drawn slices that were
            left out; None for a label that nobody looked for, and for all where too little is drawn to say.
    """

    labels_DHW: npt.NDArray[np.uint8]
    soft_CDHW: FloatArray
    residual_DHW: FloatArray
    change_DHW: FloatArray
    guidance: Guidance
    proxy_labels_DHW: npt.NDArray[np.uint8] | None
    estimated_dice: tuple[float | None, ...] | None = None
