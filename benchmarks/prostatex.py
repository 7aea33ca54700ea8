"""Seconds from storing an annotation to the answer in the archive, and its Dice: a real prostate MR, the trainer at work.

A real Orthanc with the plugin and ``apprentice serve``. Each run sends ProstateX-0000 (384x384x19, axial T2) as a new series by
C-STORE, draws four slices of its human zones (first and last of the gland among them, the others evenly between), stores them
as a SEG and waits for the answer. A network serves from the first run on, trained on a generated case; the node learns from the
runs while they go on.

usage: python benchmarks/prostatex.py --data FOLDER [--runs 5] [--out FILE.json]

FOLDER holds ``ProstateX-0000_t2_tra/`` and ``ProstateX-0000_zones_human.nii.gz``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.uid import generate_uid

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from node_harness import RunningNode, dice, label_map_on_grid, now, phantom, reader, running_node, wait_for

from dicom_io.pacs.dimse import send
from dicom_io.read_series import read_series
from learner.demo.orthanc import LocalOrthanc

DRAWN = 4


def as_new_series(files: list[bytes], number_of_run: int) -> list[bytes]:
    """The same images under new UIDs, one pixel of each changed: the node looks for copies among answers on the same pixels."""
    uid = generate_uid()
    renamed = []
    for number, file in enumerate(files, start=1):
        dataset = dcmread(BytesIO(file))
        dataset.SeriesInstanceUID = uid
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{uid[:58]}.{number}"
        pixels = dataset.pixel_array.copy()
        pixels[0, 0] = number_of_run
        dataset.PixelData = pixels.tobytes()
        buffer = BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        renamed.append(buffer.getvalue())
    return renamed


def one_run(node: RunningNode, files: list[bytes], zones: Path) -> dict[str, object]:
    """Sends, draws, waits; what came of it."""
    source = read_series(files)
    geometry = source.volume.geometry
    zones_DHW = label_map_on_grid(zones, geometry.affine, geometry.shape)
    gland_DHW = np.isin(zones_DHW, (1, 2)).astype(np.uint8)
    occupied = np.flatnonzero(gland_DHW.any(axis=(1, 2)))
    send(files, node.orthanc.dicom_address, called_aet=node.orthanc.aet)
    uid = source.volume.series.series_instance_uid
    wait_for(lambda: node.archive.find_series(uid).is_stable, "the series to be stable")
    if node.store.queries.jobs("ready"):
        wait_for(lambda: node.store.queries.jobs("leased"), "the trainer to be at work")
    drawn = [int(index) for index in np.linspace(occupied[0], occupied[-1], DRAWN).round()]
    drawing = reader(source, gland_DHW).draw(drawn, now())
    node.archive.store(drawing)
    facts = node.answered(drawing).facts
    wanted = ("seconds_to_answer", "seconds_computing", "seconds_writing", "drawn_slices")
    found_DHW = node.prediction(source, node.round_of(drawing))
    return {key: facts[key] for key in wanted} | {"dice": round(dice(found_DHW, gland_DHW), 4)}


def measure(data: Path, runs: int) -> list[dict[str, object]]:
    """All runs on one node."""
    files = [path.read_bytes() for path in sorted((data / "ProstateX-0000_t2_tra").glob("*"))]

    def make(**options: object) -> LocalOrthanc:
        return stack.enter_context(LocalOrthanc(folder / "orthanc", credentials={"apprentice": "bench"}, **options))  # type: ignore[arg-type]

    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        with running_node(folder / "node", make, steps=120) as node:
            other, truth_DHW = phantom(size=96)
            person = reader(node.send(other), truth_DHW)
            for slices in ([4, 9], [6], [7]):
                drawing = person.draw(slices, now())
                node.archive.store(drawing)
                node.answered(drawing)
            wait_for(lambda: node.store.checkpoints.serving("prostate"), "the first version of the network", 300)
            return [
                one_run(node, as_new_series(files, number), data / "ProstateX-0000_zones_human.nii.gz")
                for number in range(runs)
            ]


def main() -> None:
    """Measures, prints, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    rows = measure(chosen.data, chosen.runs)
    for row in rows:
        print(row)
    seconds = [float(str(row["seconds_to_answer"])) for row in rows]
    print(f"seconds to the answer: median {statistics.median(seconds):.2f}, worst {max(seconds):.2f}")
    if chosen.out is not None:
        machine = {"platform": platform.platform(), "cores": os.cpu_count()}
        chosen.out.write_text(json.dumps({"runs": rows, "machine": machine}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
