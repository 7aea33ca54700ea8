"""A real node for tests: a real Orthanc with the plugin, and ``apprentice serve`` as a process that may be killed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import nibabel as nib
import numpy as np
from pydicom import dcmread
from scipy import ndimage

from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from dicom_io.geometry import Geometry
from dicom_io.pacs.orthanc_rest import OrthancArchive
from dicom_io.read_annotation import read_annotation
from dicom_io.read_series import read_series
from dicom_io.results import SegmentDescription
from dicom_io.volume import ImageSeries
from learner.demo.modality import Order, image_series
from learner.demo.orthanc import LocalOrthanc, PluginOptions
from learner.demo.reader import Reader
from learner.demo.variations import Scan
from learner.storage.store import LocalStore

Found = TypeVar("Found")
SEGMENTS = (SegmentDescription(1, "Prostate", ANATOMICAL_STRUCTURE, Code("41216001", "SCT", "Prostate"), (230, 120, 60)),)
TASK_FILE = """
title = "Prostate, whole gland"
[match]
modalities = ["MR"]
min_slices = 3
[[labels]]
name = "Prostate"
colour = "#e6783c"
category = { value = "91723000", scheme = "SCT", meaning = "Anatomical Structure" }
type = { value = "41216001", scheme = "SCT", meaning = "Prostate" }
"""
_CONFIGURATION = """
[node]
data = "data"
log_format = "json"
[pacs]
url = "{url}"
user = "apprentice"
password_file = "password"
poll_s = {poll_s}
reconcile_s = {reconcile_s}
store_by = "{store_by}"
dimse_port = {dicom_port}
{pacs}
[api]
port = {port}
[tasks]
folder = "tasks"
[learning]
steps = {steps}
idle_steps = {idle_steps}
threads = 1
{learning}
[answer]
threads = 1
{answer}
"""


TRAINED_S = 300.0
"""Patience with the first version: the trainer has the lowest priority, and other tests run beside it."""


def wait_for(condition: Callable[[], Found | None], what: str, timeout_s: float = 90.0) -> Found:
    """Waits until ``condition`` gives something true, and gives that.

    Raises:
        AssertionError: after ``timeout_s``; names ``what``.
    """
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)  # the pause of a wait for a condition
    raise AssertionError(f"waited {timeout_s} s in vain for: {what}")


def phantom(slices: int = 14, size: int = 64, seed: int = 1, number: int = 1) -> tuple[list[bytes], np.ndarray]:
    """A series as files, and the truth on its grid: a bright, textured gland that changes its shape from slice to slice."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[0:slices, 0:size, 0:size].astype(np.float64)
    middle = (slices - 1) / 2
    drift = 4 * np.sin(z / slices * np.pi)
    radius = size / 4 * np.sqrt(np.clip(1 - ((z - middle) / (slices / 2.4)) ** 2, 0, None))
    distance = np.hypot((y - size / 2 - drift) * 1.2, x - size / 2 + drift)
    truth_DHW = (distance < radius).astype(np.uint8)
    texture = ndimage.gaussian_filter(rng.normal(size=truth_DHW.shape), (0.5, 2, 2)) * 400
    soft_DHW = ndimage.gaussian_filter(truth_DHW.astype(np.float64), (0, 1, 1))
    voxels_DHW = np.clip(600 + 500 * soft_DHW + texture + rng.normal(size=truth_DHW.shape) * 30, 0, 4000)
    affine = np.array([[0, 0, 1.0, -30], [0, 1.0, 0, -30], [3.0, 0, 0, 5], [0, 0, 0, 1]])
    geometry = Geometry(truth_DHW.shape, affine, "1.2.3")
    scan = Scan(f"phantom-{seed}", "nobody", "generated", voxels_DHW.astype(np.int16), truth_DHW, geometry)
    return image_series(scan, Order(number, f"test-{seed}-{number}", "T2 axial")), truth_DHW


def with_attributes(file: bytes, **attributes: str) -> bytes:
    """The same object with other values, by keyword."""
    dataset = dcmread(BytesIO(file))
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@dataclass
class RunningNode:
    """Orthanc and learner as processes.

    Attributes:
        folder: configuration, data and logs.
        orthanc: the archive.
        steps: training steps a learn job.
        idle_steps: training steps more while nothing waits.
        poll_s: without a nudge, how often the log is looked at.
        reconcile_s: time between reconciliation scans.
        store_by: how results are stored.
        pacs: more lines of section ``[pacs]``, and sections after it.
        archive_url: where the learner looks for the archive's REST interface, if something stands before it.
        learning: more lines of section ``[learning]``.
        answer: more lines of section ``[answer]``.
        environment: more environment for the learner.
        task: the only task file.
        task_id: its name without ``.toml``.
    """

    folder: Path
    orthanc: LocalOrthanc
    port: int
    steps: int = 2
    idle_steps: int = 0
    poll_s: float = 0.5
    reconcile_s: float = 300.0
    store_by: str = "rest"
    pacs: str = ""
    archive_url: str = ""
    learning: str = ""
    answer: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    task: str = TASK_FILE
    task_id: str = "prostate"
    process: subprocess.Popen[bytes] | None = None

    def configure(self) -> None:
        (self.folder / "tasks").mkdir(parents=True, exist_ok=True)
        (self.folder / "tasks" / f"{self.task_id}.toml").write_text(self.task)
        (self.folder / "password").write_text(self.orthanc.credentials["apprentice"])
        text = _CONFIGURATION.format(
            url=self.archive_url or self.orthanc.url,
            port=self.port,
            steps=self.steps,
            idle_steps=self.idle_steps,
            poll_s=self.poll_s,
            reconcile_s=self.reconcile_s,
            store_by=self.store_by,
            dicom_port=self.orthanc.dicom_port,
            pacs=self.pacs,
            learning=self.learning,
            answer=self.answer,
        )
        (self.folder / "apprentice.toml").write_text(text)

    def start(self) -> None:
        self.configure()
        command = [sys.executable, "-m", "learner", "serve", "--config", str(self.folder / "apprentice.toml")]
        log = (self.folder / "learner.log").open("ab")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **self.environment})
        log.close()
        wait_for(self._live, "the learner's API")

    def _live(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the learner ended with {self.process.returncode}:\n{self.log()[-3000:]}")
        try:
            return httpx2.get(f"{self.url}/health/live", timeout=5).status_code == 200
        except httpx2.HTTPError:
            return False

    def kill(self) -> None:
        """SIGKILL to the learner; its trainer follows by itself."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """SIGTERM to the learner."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def archive(self) -> OrthancArchive:
        return OrthancArchive(self.orthanc.url, "apprentice", self.orthanc.credentials["apprentice"])

    @cached_property
    def store(self) -> LocalStore:
        """The learner's store, for a look from outside."""
        return LocalStore(self.folder / "data")

    def log(self) -> str:
        return (self.folder / "learner.log").read_text()

    def get(self, path: str) -> Any:
        answer = httpx2.get(f"{self.url}/api{path}", timeout=30)
        answer.raise_for_status()
        return answer.json()

    def send(self, files: list[bytes]) -> ImageSeries:
        """Stores a series and waits until the archive calls it stable."""
        for file in files:
            self.archive.store(file)
        uid = str(dcmread(BytesIO(files[0]), stop_before_pixels=True).SeriesInstanceUID)
        wait_for(lambda: self.archive.find_series(uid).is_stable, "the series to be stable")
        return read_series(files)

    @property
    def trainer_pid(self) -> int:
        """Process number of the trainer; 0 while there is none."""
        assert self.process is not None
        found = []
        for path in Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [pid for pid in path.read_text().split() if b"trainer" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return int(found[0]) if found else 0

    def rounds(self) -> list[Any]:
        return list(reversed(self.store.queries.rounds(limit=100_000)))

    def round_of(self, file: bytes) -> Any:
        """The round of an annotation object, or None before it was taken in."""
        name = self.instance_id(file)
        return next((r for r in self.rounds() if r.trigger_uid == name), None)

    def instance_id(self, file: bytes) -> str:
        uid = str(dcmread(BytesIO(file), stop_before_pixels=True).SOPInstanceUID)
        found = self.orthanc_json("POST", "/tools/lookup", uid)
        return str(found[0]["ID"]) if found else ""

    def orthanc_json(self, method: str, path: str, content: str | None = None) -> Any:
        auth = ("apprentice", self.orthanc.credentials["apprentice"])
        answer = httpx2.request(method, self.orthanc.url + path, content=content, auth=auth, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def answered(self, file: bytes, state: str = "answered", timeout_s: float = 90.0) -> Any:
        """Waits until the round of an annotation object is in ``state``."""

        def look() -> Any:
            found = self.round_of(file)
            return found if found is not None and found.state == state else None

        return wait_for(look, f"round {state}", timeout_s)

    def objects(self, kind: str, images: ImageSeries) -> list[bytes]:
        """All objects of that kind in the study of ``images`` that the node wrote, by series description."""
        study = images.volume.series.study_instance_uid
        found = []
        for status in self.archive.scan():
            if status.study_instance_uid == study and f" {kind} r" in status.series_description:
                found += self.archive.fetch_series(status)
        return found

    def prediction(self, images: ImageSeries, of: Any = None) -> np.ndarray:
        """The one prediction that stands in the archive for a study, or that of a round, read back as a label map."""
        if of is None:
            (file,) = self.objects("prediction", images)
        else:
            (result,) = (r for r in self.store.records.results_of(of.round_id) if r.kind == "prediction")
            (file,) = self.archive.fetch_series(self.archive.find_series(result.series_instance_uid))
        labels_DHW = np.zeros(images.volume.geometry.shape, dtype=np.uint8)
        for segment in read_annotation(file, images).segments:
            labels_DHW[segment.mask_DHW] = segment.number
        return labels_DHW


def label_map_on_grid(nifti: Path, affine_lps: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """A NIfTI label map (x, y, z; RAS) on a series' grid (slice, row, column; LPS), by its affine."""
    image = nib.load(nifti)
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_lps
    to_voxel = np.linalg.inv(image.affine) @ to_ras
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    voxel = np.rint(index @ to_voxel[:3, :3].T + to_voxel[:3, 3]).astype(int)
    data = np.asarray(image.dataobj)
    assert (voxel >= 0).all()
    assert (voxel < data.shape).all()
    return data[tuple(voxel.T)].reshape(shape)


def reader(images: ImageSeries, truth_DHW: np.ndarray) -> Reader:
    return Reader(images, truth_DHW, SEGMENTS)


def is_gone(pid: int) -> bool:
    """Whether a process has ended, though nobody may have asked for its status yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def now() -> datetime:
    return datetime.now(UTC)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * np.count_nonzero((a > 0) & (b > 0)) / max(np.count_nonzero(a) + np.count_nonzero(b), 1))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running_node(
    folder: Path, make_orthanc: Callable[..., LocalOrthanc], *, start: bool = True, orthanc_stable_age: int = 1, **options: Any
) -> Iterator[RunningNode]:
    """Orthanc with the plugin and a learner, both gone at the end."""
    port = free_port()
    plugin = PluginOptions(learner_url=f"http://127.0.0.1:{port}")
    orthanc = make_orthanc(plugin=plugin, stable_age=orthanc_stable_age)
    orthanc.start()
    node = RunningNode(folder, orthanc, port, **options)
    try:
        if start:
            node.start()
        yield node
    finally:
        node.kill()
        node.archive.close()
        node.store.close()
