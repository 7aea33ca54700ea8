"""A real head for tests that draw: Colin27 (Holmes et al. 1998) as Debian's ``mricron-data`` ships it, thinned out."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import nibabel
import numpy as np
import numpy.typing as npt
from node_harness import RunningNode, now, wait_for
from scipy import ndimage

from dicom_io.geometry import Geometry
from dicom_io.identifiers import derived_uid
from learner.demo.cases import BRAIN
from learner.demo.data import COLIN, MRICRON
from learner.demo.modality import Order, image_series
from learner.demo.reader import Reader
from learner.demo.variations import Scan

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
_VERTEX = 150  # mm from the bottom of the shipped image


@dataclass(frozen=True, eq=False)
class Brain:
    """A series and the truth on its grid.

    Attributes:
        files: the series as DICOM Part 10 files.
        truth_DHW: what of it is brain, ventricles included.
        affine: from the index (slice, row, column) to the patient, LPS in mm.
    """

    files: list[bytes]
    truth_DHW: BoolArray
    affine: FloatArray

    def points(self, index: int, places: FloatArray) -> FloatArray:
        """Places of slice ``index`` as (row, column), ``(n, 2)``, in the patient: LPS in mm, ``(n, 3)``."""
        voxels = np.column_stack([np.full(len(places), index), places, np.ones(len(places))])
        return np.asarray(voxels @ self.affine.T)[:, :3]

    def strokes(self, index: int, radius_mm: float) -> list[FloatArray]:
        """How a brush of that radius is led to fill the truth of slice ``index``: closed rounds, the outermost first.

        Each is ``(n, 2)``: row, column.
        """
        spacing = float(np.linalg.norm(self.affine[:3, 1]))
        depth_mm = ndimage.distance_transform_edt(np.pad(self.truth_DHW[index], 1))[1:-1, 1:-1] * spacing
        rounds: list[FloatArray] = []
        depth = radius_mm
        while (inner := (depth_mm > depth).astype(np.uint8)).any():
            outlines, _ = cv2.findContours(inner, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            step = max(1, int(radius_mm / spacing))
            for outline in outlines:
                round_ = outline[:, 0, ::-1].astype(np.float64)
                rounds.append(np.vstack([round_[::step], round_[:1]]))
            depth += 1.2 * radius_mm
        return rounds


TASK_FILE = """
title = "Brain"
[match]
modalities = ["MR"]
[[labels]]
name = "Brain"
names = ["Segment 1"]
colour = "#e6783c"
category = { value = "91723000", scheme = "SCT", meaning = "Anatomical Structure" }
type = { value = "12738006", scheme = "SCT", meaning = "Brain structure" }
"""
"""The task; "Segment 1" is what OHIF names the first segment of a drawing."""


def brain(node: str, *, number: int, first: int = 30, slice_mm: int = 9, pixel_mm: int = 2) -> Brain:
    """The head with every n-th slice and pixel.

    Args:
        node: part of the UIDs.
        number: of the patient.
        first: slice of the shipped image to begin with, in mm from its bottom; 30 is at the temporal lobes.
        slice_mm: distance of slices.
        pixel_mm: distance of pixels.
    """
    shipped = nibabel.load(MRICRON / COLIN.image.name)
    inside = np.asarray(nibabel.load(MRICRON / COLIN.stripped.name).dataobj) > 0
    step = np.array([pixel_mm, pixel_mm, slice_mm])
    picked = (slice(None, None, -pixel_mm), slice(None, None, -pixel_mm), slice(first, _VERTEX, slice_mm))
    voxels_DHW = np.asarray(shipped.dataobj)[picked].transpose(2, 1, 0)  # NIfTI is RAS; rows and columns run to L and P
    truth_DHW = ndimage.binary_fill_holes(inside, structure=np.ones((3, 3, 1)))[picked].transpose(2, 1, 0)
    # OHIF 3.12 saves nothing where values fit into 8 bits and an image has an odd number of pixels (docs/first-steps.md)
    rows, columns = (size // 8 * 8 for size in voxels_DHW.shape[1:])
    voxels_DHW, truth_DHW = voxels_DHW[:, :rows, :columns], truth_DHW[:, :rows, :columns]
    last = np.array([*(np.array(shipped.shape[:2]) - 1), first, 1])
    affine = np.eye(4)
    affine[:3, :3] = np.diag(step)[:, [2, 1, 0]]
    affine[:3, 3] = (np.diag([-1.0, -1.0, 1.0, 1.0]) @ shipped.affine @ last)[:3]
    geometry = Geometry(voxels_DHW.shape, affine, derived_uid("brain", node, "frame of reference"))
    scan = Scan("brain", "Colin27", "thinned out", voxels_DHW.astype(np.int16), truth_DHW.astype(np.uint8), geometry)
    return Brain(image_series(scan, Order(number, node, "T1 axial")), truth_DHW, affine)


def teach(node: RunningNode, patience_s: float) -> None:
    """A colleague, who draws by program, draws one case in two rounds, so that a model serves."""
    case = brain("colleague", number=1, first=26)
    person = Reader(node.send(case.files), case.truth_DHW.astype(np.uint8), (BRAIN,))
    for slices in ([3, 8, 12], [5, 10]):
        drawn = person.draw(slices, now())
        node.archive.store(drawn)
        node.answered(drawn, timeout_s=patience_s)
        wait_for(lambda: not node.store.queries.jobs("ready", "leased"), "all learning done", patience_s)
    assert node.store.checkpoints.serving(node.task_id) is not None
