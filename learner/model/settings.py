"""How the back end learns: every number that is a choice and not a consequence of the data."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

from learner.settings import LearningSettings

Precision = Literal["auto", "bf16", "fp32"]
DeviceName = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Choices of online training.

    Attributes:
        learning_rate: of AdamW, reached after ``warm_up_steps``; falls as 1 / sqrt(1 + t / ``decay_steps``) to
            ``learning_rate_floor`` of it.
        warm_up_steps: steps over which the learning rate rises.
        decay_steps: scale of the learning rate's fall.
        learning_rate_floor: least share of ``learning_rate``.
        weight_decay: of AdamW.
        gradient_norm: gradients are clipped to this norm.
        first_case_steps: least number of steps that the first job makes; a network that knows nothing needs more.
        ema_decay: of the exponential moving average of the weights that serves.
        replay_share: share of all items that come from the replay memory, once something is in it.
        drawn_weight: lambda; drawn voxels weigh 1 + lambda in the loss.
        confirmed_weight: factor on that for slices that a reader accepted and did not draw.
        proxy_weight: factor on the proxy's confidence as weight of undrawn voxels; 0 is the partial loss on drawn slices.
        confidence_weighting: whether undrawn voxels weigh by the proxy's confidence; all alike if not.
        dice_weight: weight of the Dice semimetric loss beside cross-entropy; see decision 0023.
        temporal_smoothing: largest share of the earlier model's prediction in the targets, where the proxy's confidence is 0.
        temporal_ramp_steps: steps over which that share grows.
        refresh: whether the targets of replayed cases are blended so too; if not, only those of the new case.
        logit_replay: weight of the cross-entropy that keeps a replayed case's prediction at what it was when the case was
            learned (after DER++, Buzzega et al., NeurIPS 2020); 0 stores no predictions.
        spatial_smoothing: share of the blurred target where nothing is drawn.
        rotation_degrees: largest rotation of the augmentation.
        scaling: largest relative change of size.
        mirror_axes: array axes along which mirroring keeps the anatomy plausible; none by default.
        threads: CPU threads; part of what determines the weights.
        precision: ``auto`` takes bfloat16 where the device multiplies it in hardware, float32 otherwise.
        device: ``auto`` takes CUDA where there is any.
        dimensions: 2 for a network of neighbouring slices, 3 for one of volumes; None lets the first example decide.
        cache_bytes: memory for what is prepared of replayed examples.
    """

    learning_rate: float = 2e-3
    warm_up_steps: int = 10
    decay_steps: int = 400
    learning_rate_floor: float = 0.25
    weight_decay: float = 1e-4
    gradient_norm: float = 4.0
    first_case_steps: int = 60
    ema_decay: float = 0.98
    replay_share: float = 0.6
    drawn_weight: float = 3.0
    confirmed_weight: float = 0.5
    proxy_weight: float = 1.0
    confidence_weighting: bool = True
    dice_weight: float = 3.0
    temporal_smoothing: float = 0.5
    temporal_ramp_steps: int = 400
    refresh: bool = True
    logit_replay: float = 0.0
    spatial_smoothing: float = 0.1
    rotation_degrees: float = 12.0
    scaling: float = 0.12
    mirror_axes: tuple[int, ...] = ()
    threads: int = 1
    precision: Precision = "auto"
    device: DeviceName = "auto"
    dimensions: Literal[2, 3] | None = None
    cache_bytes: int = 512 * 2**20

    def digest(self) -> str:
        """Short hash of all values, for provenance."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def training_settings(settings: LearningSettings) -> TrainingSettings:
    """The choices of training of a node."""
    return TrainingSettings(threads=settings.threads, confirmed_weight=settings.confirmed_weight)
