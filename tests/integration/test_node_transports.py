"""The loop where Orthanc is any PACS: no plugin, no REST for the node; polled, or routed to the node's own SCP."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_harness import RunningNode, free_port, now, phantom, reader, wait_for

from dicom_io.read_series import read_series
from learner.demo.orthanc import LocalOrthanc

pytestmark = pytest.mark.orthanc
DRAWN = [3, 7, 10]
POLLED = "poll_days = 0\nstable_age_s = 0.5"


def run_node(folder: Path, orthanc: LocalOrthanc, store_by: str, pacs: str) -> RunningNode:
    orthanc.start()
    return RunningNode(folder, orthanc, free_port(), store_by=store_by, pacs=pacs)


def answered(node: RunningNode, number: int = 1) -> Any:
    """Waits until a round of that number is answered; the archive's names of instances differ by transport."""
    return wait_for(
        lambda: next((r for r in node.rounds() if r.number == number and r.state == "answered"), None), f"round {number}"
    )


def check_answer(node: RunningNode, images: Any, truth_DHW: np.ndarray, round_: Any) -> None:
    drawn_DHW = node.prediction(images, round_)[DRAWN] > 0
    assert np.array_equal(drawn_DHW, truth_DHW[DRAWN] > 0), "drawn slices come back as drawn"
    results = node.store.records.results_of(round_.round_id)
    assert len(results) > 1
    for result in results:
        assert len(node.archive.find_series(result.series_instance_uid).instance_ids) == 1


@pytest.mark.parametrize("kind", ["dicomweb", "dimse-get", "dimse-move"])
def test_an_archive_that_is_polled(tmp_path: Path, make_orthanc: Callable[..., LocalOrthanc], kind: str) -> None:
    port = free_port()
    transport, _, by = kind.partition("-")
    allowed = {f"DicomAlwaysAllow{service}": True for service in ("Find", "Get", "Move", "Store")}
    modality = {"AET": "APPRENTICE", "Host": "127.0.0.1", "Port": port, "AllowFind": True, "AllowGet": True, "AllowMove": True}
    orthanc = make_orthanc(settings=allowed | {"DicomModalities": {"node": modality}})
    pacs = f'kind = "{transport}"\nretrieve_by = "{by or "get"}"\n{POLLED}\n[scp]\nport = {port}\nallowed_aets = ["ORTHANC"]'
    node = run_node(tmp_path, orthanc, transport, pacs)
    try:
        node.start()
        files, truth_DHW = phantom()
        images = node.send(files)
        person = reader(images, truth_DHW)
        node.archive.store(person.draw(DRAWN, now()))
        check_answer(node, images, truth_DHW, answered(node))

        (prediction,) = node.objects("prediction", images)
        node.archive.store(person.edit(prediction, [5], now()))
        second = answered(node, 2)
        assert second.facts["edited"]
        assert len(node.objects("prediction", images)) == 2, "what cannot be deleted stays"
        assert '"level": "error"' not in node.log()
    finally:
        node.kill()
        node.archive.close()
        node.store.close()


@pytest.mark.skipif(shutil.which("storescu") is None, reason="dcmtk absent: apt-get install dcmtk")
def test_a_pacs_that_routes_to_the_nodes_own_scp(tmp_path: Path, make_orthanc: Callable[..., LocalOrthanc]) -> None:
    port = free_port()
    pacs = f'kind = "inbox"\nstable_age_s = 0.5\n[scp]\nport = {port}\nallowed_aets = ["ROUTER"]'
    node = run_node(tmp_path, make_orthanc(), "dimse", pacs)

    def route(name: str, files: list[bytes]) -> None:
        folder = tmp_path / name
        folder.mkdir()
        for number, file in enumerate(files):
            (folder / f"{number}.dcm").write_bytes(file)
        command = ["storescu", "-R", "-aet", "ROUTER", "-aec", "APPRENTICE", "+sd", "127.0.0.1", str(port), str(folder)]
        sent = subprocess.run(command, check=False, timeout=60, capture_output=True, text=True)
        assert sent.returncode == 0, sent.stderr

    try:
        node.start()
        files, truth_DHW = phantom()
        images = read_series(files)
        person = reader(images, truth_DHW)
        drawing = person.draw(DRAWN, now())
        route("drawing", [drawing])  # before its images: it waits
        wait_for(lambda: [r for r in node.rounds() if r.state == "waiting"], "the drawing to wait for its images")
        node.kill()
        node.start()
        route("images", files)
        for file in files:  # the PACS has them, too
            node.archive.store(file)
        check_answer(node, images, truth_DHW, answered(node))
        assert '"level": "error"' not in node.log()
        assert "nobody" not in node.log(), "no patient in the log"
    finally:
        node.kill()
        node.archive.close()
        node.store.close()
