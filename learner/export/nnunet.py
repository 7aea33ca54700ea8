"""Annotations and proxy masks as NIfTI in nnU-Net's layout (version 2), so that it trains on them as they are.

What nobody drew has nnU-Net's *ignore* label, which counts in no loss: its way of learning from few slices. Where only some
labels of a task are known at a voxel, the voxel is ignored, because nnU-Net knows no per-label ignorance.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from dicom_io.annotation import SparseAnnotation
from dicom_io.whole_files import write_whole
from learner.domain.task import Task
from learner.export.cases import AnnotatedCase, LeftOut, nifti_affine

_CHANNELS = {"CT": "CT", "MR": "MRI", "PT": "PET"}
"""nnU-Net normalises a channel called CT by the data set's intensities, and every other by those of each image."""


@dataclass(eq=False)
class NnUNetReport:
    """What was written.

    Attributes:
        cases: one line of ``cases.json`` each.
        left_out: what was not exported, or not as it should be, and why.
    """

    cases: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def write_nnunet(folder: Path, task: Task, found: Iterable[AnnotatedCase | LeftOut]) -> NnUNetReport:
    """Writes ``Dataset001_TASK`` and, beside it, ``proxies_TASK``.

    Args:
        folder: where both are put; what nnU-Net calls ``nnUNet_raw``.
        task: the task.
        found: its cases.
    """
    dataset, proxies = folder / f"Dataset001_{task.task_id}", folder / f"proxies_{task.task_id}"
    report = NnUNetReport()
    for one in found:
        if isinstance(one, LeftOut):
            report.left_out.append(one)
            continue
        affine = nifti_affine(one.affine)
        _write(dataset / "imagesTr" / f"{one.name}_0000.nii.gz", one.image_DHW, affine)
        _write(dataset / "labelsTr" / f"{one.name}.nii.gz", sparse_labels(one.annotation), affine)
        _write(proxies / f"{one.name}_labels.nii.gz", one.proxy.labels_DHW, affine)
        _write(proxies / f"{one.name}_probabilities.nii.gz", one.proxy.soft_CDHW, affine)
        _write(proxies / f"{one.name}_confidence.nii.gz", one.proxy.confidence_DHW, affine)
        report.cases.append(_line(one))
    _write_json(dataset / "dataset.json", dataset_json(task, len(report.cases)))
    _write_json(dataset / "cases.json", report.cases)
    return report


def sparse_labels(annotation: SparseAnnotation) -> npt.NDArray[np.uint8]:
    """Labels where all of them are known, L + 1 (*ignore*) elsewhere."""
    ignore = np.uint8(annotation.label_count + 1)
    return np.asarray(np.where(annotation.known_DHW, annotation.labels_DHW, ignore), dtype=np.uint8)


def dataset_json(task: Task, cases: int) -> dict[str, Any]:
    """``dataset.json`` as nnU-Net v2 reads it."""
    modality = task.match.modalities[0]
    names = {f"{label.name} (label)" if label.name.casefold() in _TAKEN else label.name: label.number for label in task.labels}
    return {
        "channel_names": {"0": _CHANNELS.get(modality, modality)},
        "labels": {"background": 0, **names, "ignore": len(task.labels) + 1},
        "numTraining": cases,
        "file_ending": ".nii.gz",
        "name": task.task_id,
        "description": f"{task.title}; slices that readers drew, everything else ignored. Research use.",
        "licence": "to be filled in by the site that exported it",
        "converted_by": "PACS Apprentice",
    }


_TAKEN = {"background", "ignore"}


def _line(one: AnnotatedCase) -> dict[str, Any]:
    return {
        "name": one.name,
        "images_from": one.source,
        "site": one.site,
        "held_back_from_training": one.held,
        "known_planes": [[plane.axis, plane.index, plane.kind.value] for plane in one.annotation.planes],
        "labels_nobody_looked_for": list(one.annotation.unknown_labels),
        "proxy_method": one.proxy.method,
    }


def _write(path: Path, array: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> None:
    """An array ``(..., slice, row, column)`` as NIfTI ``(column, row, slice, ...)`` in scanner space."""
    image = nib.Nifti1Image(array.transpose(), affine, dtype=array.dtype)
    image.set_qform(affine, code="scanner")
    image.set_sform(affine, code="scanner")
    image.header.set_xyzt_units("mm")
    write_whole(path, gzip.compress(image.to_bytes(), compresslevel=3, mtime=0))


def _write_json(path: Path, content: object) -> None:
    write_whole(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
