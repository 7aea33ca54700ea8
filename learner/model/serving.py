"""The network as it serves: from a checkpoint's averaged weights to probabilities on the source grid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import numpy as np
import numpy.typing as npt
import structlog
import torch
from monai.inferers.utils import sliding_window_inference
from torch import Tensor

from learner.domain.pace import give_way
from learner.errors import StoreError
from learner.model.growth import grown
from learner.model.network import CPU, build_network, choose_device, precision_context, weights_of_task
from learner.model.plan import Plan, Spacing, Triple
from learner.model.prepare import resample_tensor, working_image
from learner.model.settings import DeviceName, Precision
from learner.model.state import load_state

FloatArray = npt.NDArray[np.float32]

_log = structlog.get_logger(__name__)
OVERLAP = 0.25
WHOLE = 2.5
"""So many times the patch is seen at once: windows that overlap would cost more, and see less around them."""
SLICES_AT_ONCE = 8


class ServingNetwork:
    """One checkpoint's averaged weights; implements :class:`learner.ports.Network`.

    Args:
        plan: of the network.
        weights: copied; training may go on.
        precision: of the arithmetic.
        device: where to compute; when its memory does not suffice, the CPU from then on.
    """

    def __init__(
        self, plan: Plan, weights: Mapping[str, Tensor], precision: Precision = "auto", device: torch.device = CPU
    ) -> None:
        self._plan = plan
        self._precision = precision
        self._device = device
        self._network = build_network([plan], seed=0)
        self._network.load_state_dict(weights)
        self._network.eval().to(device)

    @property
    def plan(self) -> Plan:
        """What the network looks like and on which grid it works."""
        return self._plan

    def predict(self, image_DHW: FloatArray, spacing_DHW: Spacing) -> FloatArray:
        """Probabilities of background and labels on the source grid.

        Args:
            image_DHW: float32 voxels as the series gives them.
            spacing_DHW: distance of voxel centres in mm.

        Returns:
            float32 ``(C, D, H, W)``; sums to 1 over C.
        """
        image = working_image(self._plan, image_DHW, spacing_DHW)[None]
        source: Triple = (image_DHW.shape[0], image_DHW.shape[1], image_DHW.shape[2])
        try:
            return self._predict(image, source)
        except torch.OutOfMemoryError:
            if self._device == CPU:
                raise
            _log.warning("out of memory: predicting goes on on the CPU", device=str(self._device))
            self._device = CPU
            self._network.to(CPU)
        return self._predict(image, source)

    def _predict(self, image_CDHW: FloatArray, source_DHW: Triple) -> FloatArray:
        run = self._slices if self._plan.dimensions == 2 else self._volume
        with torch.inference_mode():
            with precision_context(self._precision, self._device):
                probabilities = run(image_CDHW)
            result = resample_tensor(probabilities, source_DHW)
            return cast("FloatArray", (result / result.sum(dim=0, keepdim=True).clamp_min(1e-6)).cpu().numpy())

    def _volume(self, image_CDHW: FloatArray) -> Tensor:
        window = self._window((image_CDHW.shape[1], image_CDHW.shape[2], image_CDHW.shape[3]))
        padded, inner = _pad(image_CDHW, window)
        return self._run(self._placed(padded)[None], window)[0][(slice(None), *inner)]

    def _slices(self, image_CDHW: FloatArray) -> Tensor:
        context, depth = self._plan.context, image_CDHW.shape[1]
        _, rows, columns = self._window((1, image_CDHW.shape[2], image_CDHW.shape[3]))
        around = np.pad(image_CDHW, ((0, 0), (context // 2, context // 2), (0, 0), (0, 0)), mode="edge")
        padded, inner = _pad(around, (1, rows, columns))
        volume = self._placed(padded)[0]
        outputs = []
        for first in range(0, depth, SLICES_AT_ONCE):
            last = min(first + SLICES_AT_ONCE, depth)
            batch = volume[first : last + context - 1].unfold(0, context, 1).permute(0, 3, 1, 2)
            outputs.append(self._run(batch.contiguous(), (rows, columns)))
        return torch.cat(outputs).transpose(0, 1)[(slice(None), slice(None), *inner[1:])]

    def _window(self, shape_DHW: Triple) -> Triple:
        """What the network sees at once: the whole, if that is not much more than the patch it was trained on."""
        sizes = zip(shape_DHW, self._plan.factors, self._plan.patch_DHW, strict=True)
        whole = cast("Triple", tuple(max(-(-size // factor) * factor, patch) for size, factor, patch in sizes))
        return whole if math.prod(whole) <= WHOLE * math.prod(self._plan.patch_DHW) else self._plan.patch_DHW

    def _placed(self, array: FloatArray) -> Tensor:
        return torch.from_numpy(array).to(self._device)

    def _run(self, batch: Tensor, window: tuple[int, ...]) -> Tensor:
        """Softmax of the network's output, in one piece if it is one window."""
        give_way()
        if tuple(batch.shape[2:]) == window:
            return torch.softmax(self._network(batch).float(), dim=1)
        output = sliding_window_inference(
            batch, window, sw_batch_size=SLICES_AT_ONCE, predictor=self._probabilities, overlap=OVERLAP, mode="gaussian"
        )
        return cast("Tensor", output)

    def _probabilities(self, batch: Tensor) -> Tensor:
        give_way()
        return torch.softmax(self._network(batch).float(), dim=1)


def load_network(state: bytes, task_id: str, label_count: int, *, threads: int, device: DeviceName = "auto") -> ServingNetwork:
    """The network of a trainer's saved state, for the answering process.

    Args:
        state: what ``Trainer.save`` gave.
        task_id: the task; may be empty where the model has one.
        label_count: labels L of the task; what it gained since the state was saved, the network hardly finds.
        threads: CPU threads for the whole process.
        device: where to compute.

    Raises:
        StoreError: if the state cannot be read, or nothing was learned of the task yet.
        ConfigurationError: if the network has more labels than the task.
    """
    loaded = load_state(state)
    if not task_id and len(loaded.plans) == 1:
        task_id = next(iter(loaded.plans))
    loaded = grown(loaded, {task_id: label_count})
    if task_id not in loaded.plans:
        raise StoreError(f"the checkpoint holds no network: nothing was learned yet of task {task_id!r}")
    torch.set_num_threads(threads)
    weights = weights_of_task(loaded.average, list(loaded.plans).index(task_id))
    return ServingNetwork(loaded.plans[task_id], weights, device=choose_device(device))


def _pad(array_CDHW: FloatArray, least_DHW: Triple) -> tuple[FloatArray, tuple[slice, slice, slice]]:
    """Padded at the edges to at least ``least_DHW``, and where the source lies in it."""
    widths = [(0, 0)]
    inner = []
    for size, least in zip(array_CDHW.shape[1:], least_DHW, strict=True):
        before = max(0, least - size) // 2
        widths.append((before, max(0, least - size) - before))
        inner.append(slice(before, before + size))
    return np.pad(array_CDHW, widths, mode="edge"), (inner[0], inner[1], inner[2])
