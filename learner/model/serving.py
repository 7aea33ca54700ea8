"""The network as it serves: from a checkpoint's averaged weights to probabilities on the source grid."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from monai.inferers.utils import sliding_window_inference
from torch import Tensor

from learner.domain.proxy import ProxyMask
from learner.errors import StoreError
from learner.model.growth import grown
from learner.model.network import build_network, precision_context
from learner.model.plan import Plan, Spacing, Triple
from learner.model.prepare import resample, working_image, working_proxy
from learner.model.sampling import condition_channels
from learner.model.settings import Precision
from learner.model.state import load_state

FloatArray = npt.NDArray[np.float32]

_OVERLAP = 0.25
_SLICES_AT_ONCE = 8


class ServingNetwork:
    """One checkpoint's averaged weights; implements :class:`learner.ports.Network`.

    Args:
        plan: of the network.
        weights: copied; training may go on.
        precision: of the arithmetic.
    """

    def __init__(self, plan: Plan, weights: dict[str, Tensor], precision: Precision = "auto") -> None:
        self._plan = plan
        self._precision = precision
        self._network = build_network(plan, seed=0)
        self._network.load_state_dict(weights)
        self._network.eval()

    @property
    def plan(self) -> Plan:
        """What the network looks like and on which grid it works."""
        return self._plan

    def predict(self, image_DHW: FloatArray, spacing_DHW: Spacing, proxy: ProxyMask | None) -> FloatArray:
        """Probabilities of background and labels on the source grid.

        Args:
            image_DHW: float32 voxels as the series gives them.
            spacing_DHW: distance of voxel centres in mm.
            proxy: the proxy mask to condition on, or None for the network on its own.

        Returns:
            float32 ``(C, D, H, W)``; sums to 1 over C.

        Raises:
            ValueError: if the proxy has other labels than the network.
        """
        if proxy is not None and len(proxy.soft_CDHW) != self._plan.label_count + 1:
            raise ValueError(f"a proxy with {len(proxy.soft_CDHW) - 1} labels for a network of {self._plan.label_count}")
        image = working_image(self._plan, image_DHW, spacing_DHW)
        shape: Triple = (image.shape[0], image.shape[1], image.shape[2])
        condition = np.zeros((self._plan.condition_channels, *shape), dtype=np.float32)
        if proxy is not None:
            condition = condition_channels(working_proxy(proxy, shape))
        with torch.inference_mode(), precision_context(self._precision):
            probabilities = self._slices(image, condition) if self._plan.dimensions == 2 else self._volume(image, condition)
        source: Triple = (image_DHW.shape[0], image_DHW.shape[1], image_DHW.shape[2])
        result = resample(probabilities, source)
        return np.asarray(result / np.maximum(result.sum(axis=0, keepdims=True), 1e-6), dtype=np.float32)

    def _volume(self, image: FloatArray, condition: FloatArray) -> FloatArray:
        padded, inner = _pad(np.concatenate([image[None], condition]), self._plan.patch_DHW)
        output = self._run(torch.from_numpy(padded)[None], self._plan.patch_DHW)
        return np.ascontiguousarray(output[0].numpy()[(slice(None), *inner)])

    def _slices(self, image: FloatArray, condition: FloatArray) -> FloatArray:
        reach = self._plan.context // 2
        depth = image.shape[0]
        _, rows, columns = self._plan.patch_DHW
        around, inner = _pad(np.pad(image, ((reach, reach), (0, 0), (0, 0)), mode="edge")[None], (1, rows, columns))
        shown, _ = _pad(condition, (1, rows, columns))
        outputs = []
        for first in range(0, depth, _SLICES_AT_ONCE):
            batch = [
                np.concatenate([around[0, index : index + self._plan.context], shown[:, index]])
                for index in range(first, min(first + _SLICES_AT_ONCE, depth))
            ]
            outputs.append(self._run(torch.from_numpy(np.stack(batch)), (rows, columns)))
        result = torch.cat(outputs).permute(1, 0, 2, 3).numpy()
        return np.ascontiguousarray(result[(slice(None), slice(None), *inner[1:])])

    def _run(self, batch: Tensor, window: tuple[int, ...]) -> Tensor:
        """Softmax of the network's output, in one piece if it fits the patch it was trained on."""
        if tuple(batch.shape[2:]) == window:
            return torch.softmax(self._network(batch).float(), dim=1)
        output = sliding_window_inference(
            batch, window, sw_batch_size=_SLICES_AT_ONCE, predictor=self._probabilities, overlap=_OVERLAP, mode="gaussian"
        )
        return cast("Tensor", output)

    def _probabilities(self, batch: Tensor) -> Tensor:
        return torch.softmax(self._network(batch).float(), dim=1)


def load_network(state: bytes, label_count: int, *, threads: int) -> ServingNetwork:
    """The network of a trainer's saved state, for the answering process.

    Args:
        state: what ``Trainer.save`` gave.
        label_count: labels L of the task; what it gained since the state was saved, the network hardly finds.
        threads: CPU threads for the whole process.

    Raises:
        StoreError: if the state cannot be read, or nothing was learned yet.
        ConfigurationError: if the network has more labels than the task.
    """
    loaded = grown(load_state(state), label_count)
    if loaded.plan is None:
        raise StoreError("the checkpoint holds no network: nothing was learned yet")
    torch.set_num_threads(threads)
    return ServingNetwork(loaded.plan, loaded.average)


def _pad(array_CDHW: FloatArray, least_DHW: Triple) -> tuple[FloatArray, tuple[slice, slice, slice]]:
    """Padded at the edges to at least ``least_DHW``, and where the source lies in it."""
    widths = [(0, 0)]
    inner = []
    for size, least in zip(array_CDHW.shape[1:], least_DHW, strict=True):
        before = max(0, least - size) // 2
        widths.append((before, max(0, least - size) - before))
        inner.append(slice(before, before + size))
    return np.pad(array_CDHW, widths, mode="edge"), (inner[0], inner[1], inner[2])
