"""Who is signed in is the reader of what they save in the viewer: real Orthanc with the plugin, the node as a process."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO

import httpx2
import numpy as np
import pytest
from node_harness import RunningNode, now, phantom, reader, running_node, wait_for, with_attributes
from pydicom import dcmread

from dicom_io.volume import ImageSeries
from learner.demo.orthanc import LocalOrthanc
from learner.domain.user import Role

pytestmark = pytest.mark.orthanc
PASSWORD = "twelve green apples"
NAMES = ("eva-the-reader", "adam-the-reader")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, make_orthanc_once: Callable[..., LocalOrthanc]) -> Iterator[RunningNode]:
    """A node with a viewer, two readers, and a token for the plugin, whose nudge alone makes it look in time."""
    folder = tmp_path_factory.mktemp("node")
    viewer, token = folder / "viewer", folder / "plugin-token"
    viewer.mkdir()
    (viewer / "index.html").write_text("<html>viewer</html>")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("APPRENTICE_TOKEN_FILE", str(token))
        options = {"poll_s": 60.0, "pacs": f'[viewer]\nfolder = "{viewer}"'}
        running = stack.enter_context(running_node(folder / "node", make_orthanc_once, start=False, **options))
        running.configure()
        for name in NAMES:
            running.store.accounts.add_user(name, Role.READER, PASSWORD)
        token.write_text(running.store.accounts.add_token("orthanc", Role.READER))
        running.start()
        yield running


SignIn = Callable[[str], httpx2.Client]


@pytest.fixture
def signed_in(node: RunningNode) -> Iterator[SignIn]:
    with ExitStack() as stack:

        def sign_in(name: str) -> httpx2.Client:
            browser = stack.enter_context(httpx2.Client(base_url=node.url, headers={"Origin": node.url}, timeout=60))
            if name:
                answer = browser.post("/sign-in", data={"name": name, "password": PASSWORD, "next": "/ohif/"})
                assert (answer.status_code, answer.headers["location"]) == (303, "/ohif/")
                assert "viewer" in browser.get("/ohif/").text
            return browser

        yield sign_in


def stow(browser: httpx2.Client, *files: bytes, accept: str = "application/dicom+json") -> httpx2.Response:
    boundary = secrets.token_hex(8).encode()
    parts = b"".join(b"--%s\r\nContent-Type: application/dicom\r\n\r\n%s\r\n" % (boundary, file) for file in files)
    kind = f'multipart/related; type="application/dicom"; boundary={boundary.decode()}'
    content = parts + b"--%s--\r\n" % boundary
    return browser.post("/dicom-web/studies", content=content, headers={"Content-Type": kind, "Accept": accept})


def as_ohif_saves(file: bytes) -> bytes:
    """The same drawing, with the name that OHIF 3.12 writes whoever sits there."""
    return with_attributes(file, ContentCreatorName="unknown^unknown")


def uid_of(file: bytes) -> str:
    return str(dcmread(BytesIO(file), stop_before_pixels=True).SOPInstanceUID)


def drawn(images: ImageSeries, truth_DHW: np.ndarray, *slices: int) -> bytes:
    return as_ohif_saves(reader(images, truth_DHW).draw(list(slices), now()))


def test_what_two_readers_save_in_the_viewer_is_kept_apart(node: RunningNode, signed_in: SignIn) -> None:
    files, truth_DHW = phantom(seed=1)
    images = node.send(files)
    eva, adam = (signed_in(name) for name in NAMES)

    first = drawn(images, truth_DHW, 3, 7, 10)
    assert stow(eva, first).status_code == 200
    assert node.answered(first).reader == NAMES[0]

    larger_DHW = np.maximum(truth_DHW, np.roll(truth_DHW, 2, axis=1))
    second = drawn(images, larger_DHW, 7)
    assert stow(adam, second, accept="multipart/related").status_code == 200
    round_ = node.answered(second)
    assert round_.reader == NAMES[1]
    record = node.store.files.get_record(round_.round_id)
    assert record.annotation is not None
    assert set(record.annotation.readers) == set(NAMES), "rule 6 knows two readers, not one who changed their mind"

    named = with_attributes(reader(images, truth_DHW).draw([5], now()), ContentCreatorName="Somebody^Else")
    assert stow(eva, named).status_code == 200
    assert node.answered(named).reader == "Somebody^Else", "what the object says itself goes first"

    assert eva.get(f"/api/triggers/{uid_of(first)}").json()["round"]["reader"] == NAMES[0]
    assert not [name for name in NAMES if name in node.log()]
    assert not [name for name in NAMES if name in eva.get("/metrics").text]


def test_a_whole_request_of_several_objects_is_its_senders(node: RunningNode, signed_in: SignIn) -> None:
    files, truth_DHW = phantom(seed=2)
    images = node.send(files)
    drawings = [drawn(images, truth_DHW, *slices) for slices in ((3, 7), (10,))]
    assert stow(signed_in(NAMES[0]), *drawings).status_code == 200
    assert {node.answered(one).reader for one in drawings} == {NAMES[0]}


def test_nobody_is_the_author_of_what_was_not_stored(node: RunningNode, signed_in: SignIn) -> None:
    files, truth_DHW = phantom(seed=3)
    images = node.send(files)
    drawing = drawn(images, truth_DHW, 3, 7)
    assert stow(signed_in(""), drawing).status_code == 401
    assert node.instance_id(drawing) == ""

    eva = signed_in(NAMES[0])
    cut_off = drawing[:3000]
    stow(eva, cut_off)
    assert node.instance_id(drawing) == ""
    assert node.store.authors.author_of(uid_of(drawing)) == ""

    node.archive.store(drawing)
    assert node.answered(drawing).reader == ""
    stow(eva, drawing)
    assert node.store.authors.author_of(uid_of(drawing)) == "", "what was taken in already is nobody's to claim"


def test_the_plugins_nudge_needs_its_token(node: RunningNode, signed_in: SignIn) -> None:
    files, truth_DHW = phantom(seed=4)
    images = node.send(files)
    drawing = drawn(images, truth_DHW, 3, 7)
    assert stow(signed_in(NAMES[0]), drawing).status_code == 200
    node.answered(drawing)
    status = wait_for(lambda: node.orthanc_json("GET", "/apprentice/status"), "the plugin's status")
    assert status["learner"]["reachable"] is True
