"""Dense flow of many pairs of slices at once, in torch: the same code on a CPU and on a GPU.

Iterated Lucas-Kanade with symmetric gradients on a pyramid (Lucas and Kanade, IJCAI 1981; Bouguet, Pyramidal implementation of
the Lucas Kanade feature tracker, Intel 2000): at each scale the source is warped by the flow found so far, and the flow is
corrected by the least squares solution of brightness constancy in a Gaussian window, damped where the slice shows nothing, and
smoothed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]

_LEAST_SIDE = 16
_DAMPING = 1e-3
"""Added to the squared gradients of slices on a scale of 0 to 1: what weaker ones say is not trusted."""


class TorchFlow:
    """Batched multi-scale flow.

    Args:
        device: a torch device; ``auto`` for the first GPU, or the CPU where there is none.
        iterations: at each scale.
        window: standard deviation in pixels of the window in which the flow is one.
        smoothing: standard deviation in pixels of the smoothing of the flow after each iteration.
        batch_pixels: how many pixels of pairs are worked on at once; bounds the memory.
    """

    def __init__(
        self, device: str = "auto", iterations: int = 6, window: float = 2.0, smoothing: float = 1.0, batch_pixels: int = 2**24
    ) -> None:
        self._device = device
        self._iterations = iterations
        self._window = window
        self._smoothing = smoothing
        self._batch_pixels = batch_pixels

    @property
    def key(self) -> str:
        """Name and settings."""
        return f"torch-flow {self._device} {self._iterations} {self._window:g} {self._smoothing:g}"

    def register(self, pairs: Sequence[tuple[ByteArray, ByteArray]]) -> list[FloatArray]:
        """Displacements of pairs (target, source); see :class:`learner.propagation.motion.Registration`.

        Raises:
            ValueError: the device is none that torch has here.
        """
        import torch  # noqa: PLC0415 - takes a second to import

        device = _device(self._device)
        count = max(1, self._batch_pixels // pairs[0][0].size)
        made: list[FloatArray] = []
        for begin in range(0, len(pairs), count):
            both = torch.from_numpy(np.array(pairs[begin : begin + count])).to(device=device, dtype=torch.float32) / 255.0
            with torch.inference_mode():
                flow = self._flow(both[:, :1], both[:, 1:])
            made.extend(np.ascontiguousarray(flow.permute(0, 2, 3, 1).cpu().numpy()))
        return made

    def _flow(self, target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """Flow ``(N, 2, H, W)`` of slices ``(N, 1, H, W)``, columns before rows."""
        import torch  # noqa: PLC0415
        from torch.nn.functional import interpolate  # noqa: PLC0415

        pyramid = [(target, source)]
        while min(pyramid[-1][0].shape[2:]) >= 2 * _LEAST_SIDE:
            pyramid.append((_half(pyramid[-1][0]), _half(pyramid[-1][1])))
        flow = torch.zeros((len(target), 2, *pyramid[-1][0].shape[2:]), device=target.device)
        for small_target, small_source in reversed(pyramid):
            height, width = small_target.shape[2:]
            if flow.shape[2:] != small_target.shape[2:]:
                ratio = torch.tensor([width / flow.shape[3], height / flow.shape[2]], device=flow.device).view(1, 2, 1, 1)
                flow = interpolate(flow, (height, width), mode="bilinear", align_corners=False) * ratio
            for _ in range(self._iterations):
                flow = self._corrected(flow, small_target, small_source)
        return flow

    def _corrected(self, flow: torch.Tensor, target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """One iteration: the least squares correction in each window, at most a pixel, then smoothed."""
        import torch  # noqa: PLC0415

        warped = _warped(source, flow)
        across, down = _gradient((target + warped) / 2)
        apart = target - warped
        products = torch.cat([across * across, across * down, down * down, across * apart, down * apart], dim=1)
        xx, xy, yy, xt, yt = torch.split(_blur(products, self._window), 1, dim=1)
        xx, yy = xx + _DAMPING, yy + _DAMPING
        determinant = xx * yy - xy * xy
        step = torch.cat([yy * xt - xy * yt, xx * yt - xy * xt], dim=1) / determinant
        return _blur(flow + step.clamp(-1.0, 1.0), self._smoothing)


def _device(name: str) -> torch.device:
    import torch  # noqa: PLC0415

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"{name!r} is no device of torch; use auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("torch finds no GPU here; use cpu, or install a torch with CUDA and its driver")
    return device


def _half(slices: torch.Tensor) -> torch.Tensor:
    from torch.nn.functional import avg_pool2d  # noqa: PLC0415

    return avg_pool2d(slices, 2)


def _gradient(slices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Central differences along columns and rows."""
    from torch.nn.functional import pad  # noqa: PLC0415

    wide = pad(slices, (1, 1, 1, 1), mode="replicate")
    return (wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2]) / 2, (wide[:, :, 2:, 1:-1] - wide[:, :, :-2, 1:-1]) / 2


def _blur(fields: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian of each channel, as a sum of shifted fields: unlike a convolution it gives a pair the same in any batch."""
    from torch.nn.functional import pad  # noqa: PLC0415

    reach = max(1, round(2 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    height, width = fields.shape[2:]
    wide = pad(fields, (reach, reach, 0, 0), mode="replicate")
    rows = sum((wide[..., i : i + width] * float(w) for i, w in enumerate(weights)), start=wide.new_zeros(()))
    wide = pad(rows, (0, 0, reach, reach), mode="replicate")
    return sum((wide[..., i : i + height, :] * float(w) for i, w in enumerate(weights)), start=wide.new_zeros(()))


def _warped(slices: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Slices sampled at each pixel plus its flow, replicated beyond the border."""
    import torch  # noqa: PLC0415
    from torch.nn.functional import grid_sample  # noqa: PLC0415

    height, width = slices.shape[2:]
    columns = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[:, 0]
    rows = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
    return grid_sample(slices, grid, mode="bilinear", padding_mode="border", align_corners=False)
