"""Realistic variations of one shipped head: another position, another scan, a slightly other anatomy.

They make up the number of cases and are said to be such wherever they are shown. Each goes through one resampling from the
shipped voxels onto the slices of an imagined acquisition, so that slices are thick, may be tilted, and carry the partial
volume, shading, contrast and noise of a scan (of magnitude images: Gudbjartsson and Patz 1995, doi:10.1002/mrm.1910340618).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial.transform import Rotation

from dicom_io.geometry import Geometry
from dicom_io.identifiers import derived_uid
from learner.demo.data import Head

FloatArray = npt.NDArray[np.float64]

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_BRAIN_LEVEL = 600.0
_SUBSLICES = 3
_MARGIN_MM = 6.0
_MARGIN_SLICES = 2


@dataclass(frozen=True, slots=True)
class Acquisition:
    """How the imagined scanner took the slices.

    Attributes:
        slice_spacing_mm: distance and thickness of the slices.
        pixel_spacing_mm: distance of pixels in a slice.
        tilt_deg: rotation of the slices against the shipped axes about the patient's x, y and z axis.
        shift: where the first slice begins, as a share of the slice distance in [0, 1).
    """

    slice_spacing_mm: float = 4.0
    pixel_spacing_mm: float = 1.2
    tilt_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift: float = 0.0


@dataclass(frozen=True, slots=True)
class Variation:
    """What makes a head look like another one on another day.

    Attributes:
        name: short name of the case; part of its UIDs.
        remark: what was varied, in words for the table.
        acquisition: slices.
        deformation_mm: standard deviation of the smooth displacement, per axis.
        deformation_scale_mm: distance of the nodes of that displacement.
        bias: standard deviation of the logarithm of the coil's shading.
        gamma: exponent of the contrast.
        noise: standard deviation of the noise in each channel, relative to the brain's brightest tissue.
        seed: of everything random in it.
    """

    name: str
    remark: str
    acquisition: Acquisition
    deformation_mm: float = 0.0
    deformation_scale_mm: float = 80.0
    bias: float = 0.0
    gamma: float = 1.0
    noise: float = 0.01
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Scan:
    """One imagined scan with its truth.

    Attributes:
        name: short name, part of the UIDs.
        subject: whose head it is, one line.
        remark: what was varied.
        voxels_DHW: int16 stored values, never negative.
        truth_DHW: uint8, 0 or 1.
        geometry: place of the voxels in LPS; slices ascend along the cross product of row and column direction.
    """

    name: str
    subject: str
    remark: str
    voxels_DHW: npt.NDArray[np.int16]
    truth_DHW: npt.NDArray[np.uint8]
    geometry: Geometry


def vary(head: Head, variation: Variation) -> Scan:
    """The scan of ``head`` that ``variation`` tells of; the same every time.

    Args:
        head: shipped voxels and truth.
        variation: what to change.

    Returns:
        A scan that holds the whole structure with two slices and a few pixels of room.
    """
    rng = np.random.default_rng(variation.seed)
    displacement = _smooth_field(rng, head.voxels.shape, _node_counts(head, variation), variation.deformation_mm)
    geometry = _geometry(head, variation)
    voxels = np.zeros(geometry.shape, dtype=np.float64)
    truth = np.zeros(geometry.shape, dtype=np.float64)
    for part in (np.arange(_SUBSLICES) + 0.5) / _SUBSLICES - 0.5:
        index = _source_index(head, geometry, float(part), displacement)
        voxels += ndimage.map_coordinates(head.voxels, index, order=1, mode="constant") / _SUBSLICES
        truth += ndimage.map_coordinates(head.truth.astype(np.float32), index, order=1, mode="constant") / _SUBSLICES
    voxels = _appearance(rng, voxels, variation)
    stored = np.clip(np.rint(voxels * _BRAIN_LEVEL), 0, 4095).astype(np.int16)
    return Scan(variation.name, head.title, variation.remark, stored, (truth > 0.5).astype(np.uint8), geometry)


def _node_counts(head: Head, variation: Variation) -> tuple[int, ...]:
    spacing = np.linalg.norm(head.affine[:3, :3], axis=0)
    extent = np.array(head.voxels.shape) * spacing
    return tuple(int(n) for n in np.ceil(extent / variation.deformation_scale_mm) + 3)


def _smooth_field(
    rng: np.random.Generator, shape: tuple[int, ...], nodes: tuple[int, ...], scale: float
) -> npt.NDArray[np.float32]:
    """Displacement in mm at every second voxel, float32 ``(3, ...)``: cubic splines through random nodes."""
    coarse = tuple((n + 1) // 2 for n in shape)
    field = np.zeros((3, *coarse), dtype=np.float32)
    if scale == 0.0:
        return field
    grid = np.meshgrid(*(np.linspace(1.0, m - 2.0, n) for m, n in zip(nodes, coarse, strict=True)), indexing="ij")
    for component in field:
        values = ndimage.map_coordinates(rng.standard_normal(nodes), grid, order=3, mode="nearest")
        component[...] = scale * (values - values.mean()) / max(float(values.std()), 1e-6)
    return field


def _geometry(head: Head, variation: Variation) -> Geometry:
    """The smallest grid of the acquisition's orientation around the structure, with a margin for the rest of the head."""
    plan = variation.acquisition
    axes = Rotation.from_euler("xyz", plan.tilt_deg, degrees=True).as_matrix()  # columns: column, row, slice direction in LPS
    inside = np.argwhere(head.truth > 0)[::7].astype(np.float64)
    to_lps = _RAS_TO_LPS @ head.affine
    points = (inside @ to_lps[:3, :3].T + to_lps[:3, 3]) @ axes  # in the scanner's axes
    low, high = points.min(axis=0), points.max(axis=0)
    steps = np.array([plan.pixel_spacing_mm, plan.pixel_spacing_mm, plan.slice_spacing_mm])
    margin = np.array([3 * _MARGIN_MM, 3 * _MARGIN_MM, _MARGIN_SLICES * plan.slice_spacing_mm])
    low = low - margin - np.array([0.0, 0.0, plan.shift * plan.slice_spacing_mm])
    counts = np.ceil((high + margin - low) / steps).astype(int) + 1
    counts[:2] += (-counts[:2]) % 8  # scanners give even matrices
    affine = np.eye(4)
    affine[:3, :3] = (axes * steps)[:, [2, 1, 0]]  # array axes: slice, row, column
    affine[:3, 3] = axes @ low
    width, height, depth = (int(n) for n in counts)
    return Geometry((depth, height, width), affine, derived_uid("demo", head.key, variation.name, "frame of reference"))


def _source_index(head: Head, geometry: Geometry, part: float, displacement: npt.NDArray[np.float32]) -> FloatArray:
    """Index into the shipped voxels, ``(3, D, H, W)``, of all output voxels at ``part`` of a slice beside their centre."""
    target = np.indices(geometry.shape, dtype=np.float64).reshape(3, -1)
    target[0] += part
    to_source = np.linalg.inv(_RAS_TO_LPS @ head.affine) @ geometry.affine
    index = to_source[:3, :3] @ target + to_source[:3, 3:]
    if displacement.any():
        spacing = np.linalg.norm(head.affine[:3, :3], axis=0)
        moved = [ndimage.map_coordinates(component, index / 2.0, order=1, mode="nearest") for component in displacement]
        index = index + np.stack(moved) / spacing[:, None]
    return np.asarray(index.reshape(3, *geometry.shape), dtype=np.float64)


def _appearance(rng: np.random.Generator, voxels: FloatArray, variation: Variation) -> FloatArray:
    voxels = np.maximum(voxels, 0.0) ** variation.gamma
    if variation.bias > 0.0:
        nodes = rng.standard_normal((4, 4, 4)) * variation.bias
        grid = np.meshgrid(*(np.linspace(0.5, 2.5, n) for n in voxels.shape), indexing="ij")
        voxels = voxels * np.exp(ndimage.map_coordinates(nodes, grid, order=3, mode="nearest"))
    real = voxels + variation.noise * rng.standard_normal(voxels.shape)
    imaginary = variation.noise * rng.standard_normal(voxels.shape)
    return np.asarray(np.hypot(real, imaginary), dtype=np.float64)
