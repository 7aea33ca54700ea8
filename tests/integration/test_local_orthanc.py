from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from orthanc_fixtures import PASSWORD, USER, MakeOrthanc
from slices import make_slices, uids

from dicom_io.pacs.orthanc_rest import OrthancArchive
from learner.demo.orthanc import LocalOrthanc, OrthancNotStarted, PluginOptions

pytestmark = pytest.mark.orthanc
_DEADLINE_S = 30.0
_PARENT = """
import sys
from pathlib import Path
from learner.demo.orthanc import LocalOrthanc
node = LocalOrthanc(Path(sys.argv[1]))
node.start()
print(node.http_port, flush=True)
sys.stdin.read()
"""


def _until(good: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while not good():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_it_dies_with_its_parent(make_orthanc: MakeOrthanc, tmp_path: Path) -> None:
    make_orthanc()  # skips where there is none
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path / "node")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        assert _listens(port)
        os.kill(parent.pid, signal.SIGKILL)
    _until(lambda: not _listens(port))


def test_killed_or_stopped_it_starts_again_on_the_same_ports_and_data(make_orthanc: MakeOrthanc) -> None:
    orthanc = make_orthanc()
    orthanc.start()
    address = orthanc.url, orthanc.dicom_address
    files = make_slices(2)
    with OrthancArchive(orthanc.url, USER, PASSWORD) as archive:
        for file in files:
            archive.store(file)
        orthanc.kill()
        assert orthanc.pid is None
        orthanc.start()
        assert (orthanc.url, orthanc.dicom_address) == address
        assert len(archive.find_series(uids(files[0])[1]).instance_ids) == 2
    begin = time.monotonic()
    orthanc.stop()
    assert time.monotonic() - begin < 20
    assert not _listens(orthanc.http_port)


def test_a_taken_port_is_told_with_the_end_of_the_log(make_orthanc: MakeOrthanc) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        orthanc = make_orthanc(http_port=taken.getsockname()[1])
        with pytest.raises(OrthancNotStarted) as caught:
            orthanc.start(timeout=10)
    assert orthanc.pid is None
    assert str(orthanc.log_path) in str(caught.value)
    assert "HTTP" in str(caught.value)


def test_what_is_missing_is_told_with_the_packages_to_install(tmp_path: Path) -> None:
    with pytest.raises(OrthancNotStarted, match="orthanc orthanc-python orthanc-dicomweb"):
        LocalOrthanc(tmp_path, binary="/nowhere/Orthanc").start()


def test_its_configuration_is_for_its_user_only_and_has_what_matters(make_orthanc: MakeOrthanc) -> None:
    orthanc = make_orthanc(plugin=PluginOptions("http://127.0.0.1:9", page_url="/page"))
    orthanc.start()
    assert stat.S_IMODE((orthanc.folder / "orthanc.json").stat().st_mode) == 0o600
    found = orthanc.configuration()
    assert found["AuthenticationEnabled"]
    assert found["RegisteredUsers"] == {USER: PASSWORD}
    assert (found["HttpCompressionEnabled"], found["UnknownSopClassAccepted"], found["OverwriteInstances"]) == (
        False,
        True,
        False,
    )
    assert found["Apprentice"] == {"LearnerUrl": "http://127.0.0.1:9", "PageUrl": "/page"}
    assert "Apprentice" not in make_orthanc().configuration()
    environment = Path(f"/proc/{orthanc.pid}/environ").read_bytes().split(b"\0")
    assert b"TCP_NODELAY=1" in environment
