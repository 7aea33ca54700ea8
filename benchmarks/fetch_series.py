"""Which interface of a real Orthanc gives a series fastest: 300 MR slices of 512 x 512, by each of them, in interleaved runs.

The series is noise in 16 bits, so that nothing is gained by compression. Each figure is the median of its runs, from the
question to all files in memory. Orthanc runs on this machine, without TLS.

usage: python benchmarks/fetch_series.py [--slices 300] [--size 512] [--runs 5] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import socket
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx2
from cstore_with_plugin import make_series
from pydicom import dcmread
from rich.console import Console
from rich.table import Table

from dicom_io.pacs.association import Peer
from dicom_io.pacs.dicomweb_archive import DicomWebArchive
from dicom_io.pacs.dimse_archive import DimseArchive, MoveReceiver
from dicom_io.pacs.orthanc_rest import OrthancArchive
from dicom_io.pacs.port import Archive
from dicom_io.pacs.scp import StorageScp
from learner.demo.orthanc import LocalOrthanc

NODE = "APPRENTICE"
Fetch = Callable[[], list[bytes]]


def rest(archive: OrthancArchive, uid: str, threads: int) -> Fetch:
    """One request for each instance."""
    series = archive.find_series(uid)

    def fetch() -> list[bytes]:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(archive.fetch, series.instance_ids))

    return fetch


def zipped(orthanc: LocalOrthanc, archive: OrthancArchive, uid: str) -> Fetch:
    """Orthanc's archive of a series, taken apart."""
    url = f"{orthanc.url}/series/{archive.find_series(uid).archive_id}/archive"

    def fetch() -> list[bytes]:
        body = httpx2.get(url, timeout=120, headers={"Accept-Encoding": "identity"}).raise_for_status().content
        with zipfile.ZipFile(io.BytesIO(body)) as parts:
            return [parts.read(name) for name in parts.namelist()]

    return fetch


def adapter(archive: Archive, uid: str) -> Fetch:
    """An adapter's own way."""
    series = archive.find_series(uid)
    return lambda: archive.fetch_series(series)


def ways(stack: ExitStack, orthanc: LocalOrthanc, move_port: int, uid: str) -> dict[str, Fetch]:
    """Every way to fetch the series."""
    archive = stack.enter_context(OrthancArchive(orthanc.url))
    web = stack.enter_context(DicomWebArchive(f"{orthanc.url}/dicom-web", days=0))
    peer, receiver = Peer(*orthanc.dicom_address, orthanc.aet, NODE), MoveReceiver()
    get = stack.enter_context(DimseArchive(peer, days=0))
    move = stack.enter_context(DimseArchive(peer, days=0, receiver=receiver))
    stack.enter_context(StorageScp(receiver, NODE, port=move_port))
    by_rest = {f"REST, {threads} thread(s)": rest(archive, uid, threads) for threads in (1, 2, 4)}
    others = {"WADO-RS series": adapter(web, uid), "C-GET": adapter(get, uid), "C-MOVE to our SCP": adapter(move, uid)}
    return by_rest | others | {"REST, zip archive": zipped(orthanc, archive, uid)}


def measure(folder: Path, slices: int, size: int, runs: int) -> dict[str, list[float]]:
    """Seconds of each run of each way, after one that is not counted."""
    files = make_series(slices, size)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        move_port = int(probe.getsockname()[1])
    allowed = {f"DicomAlwaysAllow{service}": True for service in ("Find", "Get", "Move", "Store")}
    node = {"AET": NODE, "Host": "127.0.0.1", "Port": move_port, "AllowFind": True, "AllowGet": True, "AllowMove": True}
    orthanc = LocalOrthanc(folder, settings=allowed | {"DicomModalities": {"node": node}})
    with orthanc, ExitStack() as stack:
        archive = stack.enter_context(OrthancArchive(orthanc.url))
        for file in files:
            archive.store(file)
        uid = str(dcmread(io.BytesIO(files[0]), stop_before_pixels=True).SeriesInstanceUID)
        seconds: dict[str, list[float]] = {}
        fetches = ways(stack, orthanc, move_port, uid)
        for number in range(runs + 1):
            for name, fetch in fetches.items():
                begin = time.perf_counter()
                count = len(fetch())
                if count != slices:
                    raise RuntimeError(f"{name}: {count} of {slices} instances came")
                if number:
                    seconds.setdefault(name, []).append(time.perf_counter() - begin)
    return seconds


def main() -> None:
    """Measures, prints a table, and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--size", type=int, default=512, help="rows and columns of a slice")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(Path(folder), chosen.slices, chosen.size, chosen.runs)
    table = Table(
        "interface", "median, s", "fastest, s", "MB/s", title=f"{chosen.slices} slices of {chosen.size}x{chosen.size}"
    )
    megabytes = chosen.slices * chosen.size**2 * 2 / 1e6
    for name, runs in sorted(seconds.items(), key=lambda entry: statistics.median(entry[1])):
        median = statistics.median(runs)
        table.add_row(name, f"{median:.2f}", f"{min(runs):.2f}", f"{megabytes / median:.0f}")
    Console().print(table)
    if chosen.out is not None:
        machine = {"platform": platform.platform(), "cores": os.cpu_count(), "load_after": os.getloadavg()[0]}
        settings = {"slices": chosen.slices, "size": chosen.size, "runs": chosen.runs}
        report = {"seconds": seconds, "settings": settings, "machine": machine}
        chosen.out.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
