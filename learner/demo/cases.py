"""The five cases that the demo plays where the user brings none: four variations of one head, then another head."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from dicom_io.geometry import Geometry
from dicom_io.results import SegmentDescription
from learner.demo import data, variations
from learner.demo.data import COLIN, TEMPLATE, Head, Source, ensure_data, load_head
from learner.demo.modality import Order, image_series
from learner.demo.variations import Acquisition, Scan, Variation, vary

BRAIN = SegmentDescription(
    1, "Brain parenchyma", ANATOMICAL_STRUCTURE, Code("12738006", "SCT", "Brain structure"), (230, 140, 60)
)
SERIES_DESCRIPTION = "T1 axial demo"
SCRIPT: tuple[tuple[Source, Variation], ...] = (
    (COLIN, Variation("colin27-as-shipped", "as shipped, 4 mm slices", Acquisition(4.0), noise=0.01, seed=1)),
    (
        COLIN,
        Variation(
            "colin27-second-day",
            "deformed by 3 mm, tilted by 6 degrees, shading, much more contrast",
            Acquisition(4.0, 1.2, (6.0, 2.0, -3.0), 0.4),
            deformation_mm=3.0,
            bias=0.2,
            gamma=1.4,
            noise=0.02,
            seed=2,
        ),
    ),
    (
        COLIN,
        Variation(
            "colin27-other-scanner",
            "deformed by 3 mm, tilted by -8 degrees, 3.6 mm slices, much less contrast, more noise",
            Acquisition(3.6, 1.2, (-8.0, -3.0, 4.0), 0.7),
            deformation_mm=3.0,
            bias=0.25,
            gamma=0.7,
            noise=0.03,
            seed=3,
        ),
    ),
    (
        COLIN,
        Variation(
            "colin27-third-day",
            "deformed by 4 mm, tilted by 4 degrees, 3.8 mm slices, shading",
            Acquisition(3.8, 1.2, (4.0, -4.0, 6.0), 0.2),
            deformation_mm=4.0,
            bias=0.25,
            gamma=1.0,
            noise=0.025,
            seed=4,
        ),
    ),
    (
        TEMPLATE,
        Variation("other-head", "another subject: an average head, 3.5 mm slices", Acquisition(3.5), noise=0.015, seed=5),
    ),
)
"""Which head, and how it is varied, in the order of arrival; the last is another subject than those before."""


@dataclass(frozen=True, eq=False)
class DemoCase:
    """One case to play.

    Attributes:
        name: short name.
        subject: whose image it is.
        remark: how it was varied, or where it comes from.
        files: the image series as DICOM Part 10 files.
        truth_DHW: uint8 labels on the grid of the series as :func:`dicom_io.read_series.read_series` gives it.
    """

    name: str
    subject: str
    remark: str
    files: tuple[bytes, ...]
    truth_DHW: npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class DemoData:
    """All cases and what their labels are.

    Attributes:
        cases: in the order of arrival.
        segments: the labels.
        title: what is segmented, in words.
        task_id: name of the task.
        modalities: Modality values of the series.
        series_description: regular expression that their Series Description matches; empty for any.
    """

    cases: tuple[DemoCase, ...]
    segments: tuple[SegmentDescription, ...]
    title: str
    task_id: str
    modalities: tuple[str, ...]
    series_description: str


def shipped_data(cache: Path, run: str, console: Console, limit: int | None = None) -> DemoData:
    """The cases of :data:`SCRIPT`.

    Args:
        cache: folder for what is fetched and computed.
        run: name of this run; part of the UIDs.
        console: where progress goes.
        limit: number of cases at most.

    Raises:
        DemoError: if the data cannot be had.
    """
    script = SCRIPT[:limit]
    ensure_data(cache, console)
    heads: dict[str, Head] = {}
    cases = []
    for number, (source, variation) in enumerate(
        track(script, description="making the scans", console=console, transient=True), start=1
    ):
        scan = _kept_scan(source, variation, cache, heads)
        files = image_series(scan, Order(number, run, SERIES_DESCRIPTION))
        cases.append(DemoCase(scan.name, scan.subject, scan.remark, tuple(files), scan.truth_DHW))
    return DemoData(tuple(cases), (BRAIN,), "Brain parenchyma on T1", "brain", ("MR",), f"^{SERIES_DESCRIPTION}$")


def _kept_scan(source: Source, variation: Variation, cache: Path, heads: dict[str, Head]) -> Scan:
    """The scan from the cache, or made and put there; heads are read once."""
    path = cache / f"{variation.name}-{_digest(source, variation)}.npz"
    if path.is_file():
        try:
            with np.load(path, allow_pickle=False) as kept:
                geometry = Geometry(kept["voxels"].shape, kept["affine"], str(kept["frame"]))
                return Scan(variation.name, source.title, variation.remark, kept["voxels"], kept["truth"], geometry)
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile):
            path.unlink()  # cut off by a full disk or an interrupted run: made again
    if source.key not in heads:
        heads[source.key] = load_head(source, cache)
    scan = vary(heads[source.key], variation)
    part = path.with_suffix(".part.npz")
    frame = scan.geometry.frame_of_reference_uid
    np.savez_compressed(part, voxels=scan.voxels_DHW, truth=scan.truth_DHW, affine=scan.geometry.affine, frame=np.array(frame))
    part.replace(path)
    return scan


def _digest(source: Source, variation: Variation) -> str:
    """Changes with the shipped files, the variation, and the code that makes scans of them."""
    parts = [repr(source).encode(), repr(variation).encode()]
    parts += [Path(str(module.__file__)).read_bytes() for module in (data, variations)]
    return hashlib.sha256(b"\x00".join(parts)).hexdigest()[:12]
