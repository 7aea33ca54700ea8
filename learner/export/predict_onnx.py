"""Segments NIfTI images with the ONNX file beside this script. It needs numpy, nibabel and onnxruntime, and nothing else.

    python predict.py IMAGE.nii.gz LABELS.nii.gz [--probabilities PROBABILITIES.nii.gz] [--model model.onnx]

Research use only. Everything that it does to an image before and after the network is in this file: orientation, grid,
intensities, windows. All it needs to know stands in the metadata of the ONNX file.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Run = Callable[[FloatArray], FloatArray]
_OVERLAP, _SIGMA, _WHOLE = 0.25, 0.125, 2.5


def predict(run: Run, plan: dict[str, Any], image_DHW: FloatArray, spacing_DHW: tuple[float, ...]) -> FloatArray:
    """Probabilities ``(C, D, H, W)`` of background and labels on the image's grid.

    Args:
        run: the network: normalised patches ``(N, channels, [D,] H, W)`` to probabilities ``(N, C, [D,] H, W)``.
        plan: ``plan`` of the ONNX file's metadata.
        image_DHW: voxels along (slice, row, column).
        spacing_DHW: distance of voxel centres in mm.
    """
    shape = working_shape(plan, image_DHW.shape, spacing_DHW)
    image = normalise(resample(image_DHW[None].astype(np.float32), shape)[0])
    seen = _slices(run, plan, image) if plan["dimensions"] == 2 else _volume(run, plan, image)
    result = resample(seen, image_DHW.shape)
    return np.asarray(result / np.maximum(result.sum(axis=0, keepdims=True), 1e-6), dtype=np.float32)


def working_shape(plan: dict[str, Any], shape: tuple[int, ...], spacing: tuple[float, ...]) -> tuple[int, ...]:
    """The image's shape on the network's grid; an axis within a tenth of the wanted spacing stays as it is."""
    sizes = list(shape)
    for axis in range(3 - plan["dimensions"], 3):
        target = plan["spacing_DHW"][axis]
        if abs(spacing[axis] / target - 1) > 0.1:
            sizes[axis] = max(1, round(shape[axis] * spacing[axis] / target))
    return tuple(sizes)


def resample(array_CDHW: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Linear resampling, axis by axis; outer faces coincide; a triangle as wide as the new voxels where they are coarser."""
    for axis in (1, 2, 3):
        if array_CDHW.shape[axis] != shape[axis - 1]:
            weights = _weights(array_CDHW.shape[axis], shape[axis - 1])
            array_CDHW = np.moveaxis(np.tensordot(array_CDHW, weights, axes=(axis, 1)), -1, axis)
    return np.ascontiguousarray(array_CDHW, dtype=np.float32)


def _weights(source: int, target: int) -> FloatArray:
    """What each target voxel is made of, ``(target, source)``; rows sum to 1."""
    step = source / target
    width = max(step, 1.0)
    centres = (np.arange(target) + 0.5) * step - 0.5
    if step <= 1:
        centres = np.clip(centres, 0, source - 1)
    weights = np.maximum(0, 1 - np.abs(np.arange(source)[None] - centres[:, None]) / width)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def normalise(image: FloatArray) -> FloatArray:
    """Clipped to percentiles 0.5 and 99.5, then mean 0 and deviation 1; masked air is left out of the statistics."""
    values = image[np.isfinite(image)]
    if values.size == 0:
        return np.zeros_like(image)
    inside = values[values > values.min()]
    if inside.size == 0 or inside.size > 0.8 * values.size:
        inside = values
    low, high = np.percentile(inside, [0.5, 99.5])
    clipped = np.clip(np.nan_to_num(image, nan=float(low), posinf=float(high), neginf=float(low)), low, high)
    inside = np.clip(inside, low, high)
    return np.asarray((clipped - inside.mean()) / max(float(inside.std()), 1e-6), dtype=np.float32)


def _volume(run: Run, plan: dict[str, Any], image: FloatArray) -> FloatArray:
    window = _window(plan, image.shape)
    padded, inner = _pad(image, window)
    seen: FloatArray = _by_windows(run, padded[None, None], window)[0][(slice(None), *inner)]
    return seen


def _slices(run: Run, plan: dict[str, Any], image: FloatArray) -> FloatArray:
    """Each slice from its neighbours; beyond the first and the last slice these are repeated."""
    context, depth = plan["context"], image.shape[0]
    window = _window(plan, (1, *image.shape[1:]))
    padded, inner = _pad(image, window)
    around = np.pad(padded, ((context // 2, context // 2), (0, 0), (0, 0)), mode="edge")
    parts = [_by_windows(run, around[None, index : index + context], window[1:])[0] for index in range(depth)]
    return np.stack(parts, axis=1)[(slice(None), slice(None), *inner[1:])]


def _window(plan: dict[str, Any], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The whole image if that is not much more than the patch that the network was trained on, else the patch."""
    patch = tuple(plan["patch_DHW"])
    factors = [math.prod(stride[axis] for stride in plan["strides"]) for axis in range(3)]
    whole = tuple(max(-(-size // f) * f, least) for size, f, least in zip(shape, factors, patch, strict=True))
    return whole if math.prod(whole) <= _WHOLE * math.prod(patch) else patch


def _pad(image: FloatArray, least: tuple[int, ...]) -> tuple[FloatArray, tuple[slice, ...]]:
    lacks = [max(0, wanted - size) for size, wanted in zip(image.shape, least, strict=True)]
    padded = np.pad(image, [(lack // 2, lack - lack // 2) for lack in lacks], mode="edge")
    return padded, tuple(slice(lack // 2, lack // 2 + size) for lack, size in zip(lacks, image.shape, strict=True))


def _by_windows(run: Run, batch: FloatArray, window: tuple[int, ...]) -> FloatArray:
    """In one piece if it is one window; else windows that overlap by a quarter, weighted by a Gaussian."""
    space = batch.shape[2:]
    if space == tuple(window):
        return run(np.ascontiguousarray(batch, dtype=np.float32))
    weight, total, result = _importance(window), np.zeros(space, dtype=np.float32), None
    for start in itertools.product(*(_starts(size, width) for size, width in zip(space, window, strict=True))):
        place = tuple(slice(first, first + width) for first, width in zip(start, window, strict=True))
        seen = run(np.ascontiguousarray(batch[(slice(None), slice(None), *place)], dtype=np.float32))
        if result is None:
            result = np.zeros((*seen.shape[:2], *space), dtype=np.float32)
        result[(slice(None), slice(None), *place)] += seen * weight
        total[place] += weight
    assert result is not None
    return np.asarray(result / total, dtype=np.float32)


def _starts(size: int, window: int) -> list[int]:
    step, places = max(1, int(window * (1 - _OVERLAP))), [0]
    while places[-1] + window < size:
        places.append(min(places[-1] + step, size - window))
    return places


def _importance(window: tuple[int, ...]) -> FloatArray:
    weight = np.ones((), dtype=np.float32)
    for size in window:
        x = np.arange(size) - (size - 1) / 2
        weight = np.multiply.outer(weight, np.exp(x**2 / (-2 * (_SIGMA * size) ** 2)).astype(np.float32))
    return np.asarray(np.maximum(weight, max(float(weight.min()), 1e-3)), dtype=np.float32)


def main() -> None:
    """Reads, predicts, writes."""
    nib: Any = importlib.import_module("nibabel")
    ort: Any = importlib.import_module("onnxruntime")

    parser = argparse.ArgumentParser(description="Segment a NIfTI image with an exported network. Research use only.")
    parser.add_argument("image")
    parser.add_argument("labels")
    parser.add_argument("--probabilities", default="")
    parser.add_argument("--model", default=str(Path(__file__).with_name("model.onnx")))
    arguments = parser.parse_args()
    session = ort.InferenceSession(arguments.model, providers=ort.get_available_providers())
    told = session.get_modelmeta().custom_metadata_map
    source = nib.load(arguments.image)
    axes = nib.io_orientation(source.affine)
    wanted = nib.orientations.axcodes2ornt(told["orientation"])
    turned = source.as_reoriented(nib.orientations.ornt_transform(axes, wanted))
    spacing = np.linalg.norm(turned.affine[:3, :3], axis=0)[::-1].round(5)  # NIfTI keeps 7 digits
    image_DHW = np.asarray(turned.get_fdata(dtype=np.float32)).transpose(2, 1, 0)
    soft = predict(lambda x: session.run(None, {"image": x})[0], json.loads(told["plan"]), image_DHW, tuple(spacing))
    back = nib.orientations.ornt_transform(wanted, axes)

    def write(array_XYZ: npt.NDArray[Any], path: str) -> None:
        nib.save(nib.Nifti1Image(nib.orientations.apply_orientation(array_XYZ, back), source.affine), path)

    write(soft.argmax(axis=0).astype(np.uint8).transpose(2, 1, 0), arguments.labels)
    if arguments.probabilities:
        write(soft.transpose(3, 2, 1, 0), arguments.probabilities)


if __name__ == "__main__":
    main()
