"""Annotations in nnU-Net's layout: where they lie, what is ignored, and what is said when images are gone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813 - its own convention
from taught_node import READERS, TASK, Exported, TaughtNode, case_key

from dicom_io.annotation import Plane, SparseAnnotation
from dicom_io.errors import PacsUnavailable
from learner.export.cases import AnnotatedCases, LeftOut, axis_codes, nifti_affine
from learner.export.exporting import _remembered
from learner.export.nnunet import dataset_json, sparse_labels, write_nnunet
from learner.model.state import load_state


def test_the_layout_is_nnunets(exported: Exported) -> None:
    root = exported.folder / "nnunet" / "Dataset001_prostate"
    told = json.loads((root / "dataset.json").read_text())
    assert told["channel_names"] == {"0": "MRI"}
    assert told["labels"] == {"background": 0, "Prostate": 1, "ignore": 2}
    assert (told["numTraining"], told["file_ending"]) == (2, ".nii.gz")
    images, labels = (sorted(path.name for path in (root / name).iterdir()) for name in ("imagesTr", "labelsTr"))
    assert images == [name.replace(".nii.gz", "_0000.nii.gz") for name in labels]
    for name in labels:
        image, label = (
            sitk.ReadImage(root / "imagesTr" / name.replace(".nii", "_0000.nii")),
            sitk.ReadImage(root / "labelsTr" / name),
        )
        assert image.GetSize() == label.GetSize()
        for one, other in ((image.GetOrigin(), label.GetOrigin()), (image.GetDirection(), label.GetDirection())):
            np.testing.assert_allclose(one, other, atol=1e-6)
        values = set(np.unique(sitk.GetArrayFromImage(label)).tolist())
        assert values == {0, 1, 2}


def test_images_lie_where_the_dicom_series_does(exported: Exported) -> None:
    for images in exported.node.images:
        key = case_key(f"prostate/{images.volume.series.series_instance_uid}{images.part}")
        path = exported.folder / "nnunet" / "Dataset001_prostate" / "imagesTr" / f"case_{key[:12]}_0000.nii.gz"
        read, geometry = sitk.ReadImage(path), images.volume.geometry
        for index in ((0, 0, 0), (9, 0, 5), (3, 40, 47)):
            lps = read.TransformIndexToPhysicalPoint(tuple(reversed(index)))
            np.testing.assert_allclose(lps, geometry.to_patient(index), atol=1e-3)
        np.testing.assert_allclose(sitk.GetArrayFromImage(read), images.volume.voxels_DHW, rtol=1e-6)
        nii = nib.load(path)
        ras = nii.affine @ [47, 40, 3, 1]
        np.testing.assert_allclose(ras[:3] * [-1, -1, 1], geometry.to_patient((3, 40, 47)), atol=1e-3)


def test_only_drawn_slices_are_labelled_and_proxies_cover_the_rest(exported: Exported) -> None:
    root = exported.folder / "nnunet"
    for line in json.loads((root / "Dataset001_prostate" / "cases.json").read_text()):
        labels_DHW = np.asarray(nib.load(root / "Dataset001_prostate" / "labelsTr" / f"{line['name']}.nii.gz").dataobj).T
        drawn = [index for _, index, _ in line["known_planes"]]
        assert drawn == [3, 6]
        assert [index for index in range(10) if (labels_DHW[index] != 2).any()] == drawn
        assert (labels_DHW[drawn] < 2).all()
        proxy_DHW, confidence_DHW, soft_CDHW = (
            np.asarray(nib.load(root / "proxies_prostate" / f"{line['name']}_{kind}.nii.gz").dataobj).T
            for kind in ("labels", "confidence", "probabilities")
        )
        np.testing.assert_array_equal(proxy_DHW[drawn], labels_DHW[drawn])
        assert (confidence_DHW[drawn] == 1).all()
        assert proxy_DHW[5].any()
        np.testing.assert_array_equal(soft_CDHW.argmax(axis=0), proxy_DHW)


def test_nothing_of_who_and_whose_is_in_what_is_exported(exported: Exported) -> None:
    secrets = [reader.split("^")[0].encode() for reader in READERS]
    for images in exported.node.images:
        header = images.headers[0]
        secrets += [str(header.get(name)).encode() for name in ("PatientID", "PatientName", "StudyInstanceUID")]
        secrets.append(images.volume.series.series_instance_uid.encode())
    texts = [path for path in exported.folder.rglob("*") if path.suffix in {".md", ".json", ".onnx", ".pt"}]
    assert len(texts) >= 8
    for path in texts:
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret in content], path
    assert not [path for path in exported.folder.rglob("*") if "2.25." in path.name]


def _cases(node: TaughtNode) -> AnnotatedCases:
    head = node.store.checkpoints.head("prostate")
    around = node.surroundings
    remembered = _remembered(load_state(node.store.checkpoints.read(head)), TASK, around)
    return AnnotatedCases(node.store, around.archive, around.propagator, case_key, remembered)


def test_what_the_archive_has_no_more_comes_from_the_replay_memory_and_is_said(exported: Exported, tmp_path: Path) -> None:
    node = exported.node
    node.archive.outage = PacsUnavailable("archive", "no answer", "Try later.")
    try:
        report = write_nnunet(tmp_path, TASK, _cases(node).of(TASK))
    finally:
        node.archive.outage = None
    assert [line["images_from"] for line in report.cases] == ["replay", "replay"]
    assert {one.why for one in report.left_out} == {"the archive did not answer: its images are those of the replay memory"}
    line = report.cases[0]
    labels = nib.load(tmp_path / "Dataset001_prostate" / "labelsTr" / f"{line['name']}.nii.gz")
    np.testing.assert_allclose(labels.header.get_zooms(), (1.0, 1.0, 3.0), rtol=1e-5)
    assert set(np.unique(labels.dataobj)) == {0, 1, 2}


def test_what_is_nowhere_is_left_out_and_said(exported: Exported) -> None:
    node = exported.node
    cases = AnnotatedCases(node.store, node.archive, node.surroundings.propagator, case_key, {})
    node.archive.outage = PacsUnavailable("archive", "no answer", "Try later.")
    try:
        found = list(cases.of(TASK))
    finally:
        node.archive.outage = None
    assert [type(one) for one in found] == [LeftOut, LeftOut]
    assert all(one.why == "the archive did not answer, and the replay memory does not have it" for one in found)


def test_where_one_of_two_labels_is_unknown_the_voxel_is_ignored() -> None:
    known_LDHW = np.zeros((2, 3, 2, 2), dtype=np.bool_)
    known_LDHW[0, 1] = True
    labels_DHW = np.zeros((3, 2, 2), dtype=np.uint8)
    labels_DHW[1, 0, 0] = 1
    annotation = SparseAnnotation(labels_DHW, known_LDHW, (Plane(0, 1),))
    assert sparse_labels(annotation)[1].tolist() == [[1, 3], [3, 3]]
    assert (sparse_labels(annotation)[[0, 2]] == 3).all()


def test_labels_that_nnunet_reserves_are_renamed_and_ct_is_called_so() -> None:
    task = replace(TASK, labels=(replace(TASK.labels[0], name="Ignore"),), match=replace(TASK.match, modalities=("CT",)))
    told = dataset_json(task, 1)
    assert told["labels"] == {"background": 0, "Ignore (label)": 1, "ignore": 2}
    assert told["channel_names"] == {"0": "CT"}


def test_axis_codes_of_planes() -> None:
    axial = np.diag([3.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]]
    sagittal = np.eye(4)[[0, 2, 1, 3]]
    sagittal[2, 1] = -1
    assert axis_codes(axial) == "LPS"
    assert axis_codes(sagittal) == "PIL"
    np.testing.assert_allclose(nifti_affine(axial), np.diag([-1.0, -1.0, 3.0, 1.0]))
