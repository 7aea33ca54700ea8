"""An archive that is down, slow, closed or answers nonsense: what the operator sees; each drawing is answered in the end.

A real Orthanc, a real node, and a proxy between them that breaks what it passes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import faulty_proxy as faults
import httpx2
import numpy as np
import pytest
from faulty_proxy import Fault, FaultyProxy
from node_harness import RunningNode, free_port, now, phantom, reader, running_node, wait_for

from dicom_io.volume import ImageSeries
from learner.cli import run as apprentice
from learner.demo.orthanc import LocalOrthanc
from learner.demo.reader import Reader

pytestmark = [pytest.mark.orthanc, pytest.mark.xdist_group("faults of the archive")]
_EVERYTHING: Callable[[str, str], bool] = lambda _method, _path: True  # noqa: E731 - a table's entry


def _reading(method: str, path: str) -> bool:
    return method == "GET" and path.startswith("/instances/")


def _storing(method: str, path: str) -> bool:
    return method == "POST" and path == "/instances"


@dataclass
class Place:
    """A node with something between it and its archive.

    Attributes:
        node: it, and its archive.
        proxy: what is between.
        images: a series that is drawn on.
        hand: who draws on it.
        slices: slices that nobody drew on yet.
    """

    node: RunningNode
    proxy: FaultyProxy
    images: ImageSeries
    hand: Reader
    slices: Iterator[int]

    def draw(self) -> bytes:
        """A drawing of a slice that nothing is known of yet, in the archive."""
        file = self.hand.draw([next(self.slices)], now())
        self.node.archive.store(file)
        return file

    def ready(self) -> int:
        return httpx2.get(f"{self.node.url}/health/ready", timeout=10).status_code

    def archive_up(self) -> bool:
        return "apprentice_archive_up 1.0" in httpx2.get(f"{self.node.url}/metrics", timeout=10).text

    def told(self) -> str:
        return str(self.node.get("/status")["node"]["archive_error"])

    def one_answer(self, drawing: bytes) -> None:
        """The drawing is answered, once; nothing is given up, and nothing waits with a reason."""
        found = self.node.answered(drawing)
        assert [r.trigger_uid for r in self.node.rounds()].count(found.trigger_uid) == 1
        assert len(self.node.objects("prediction", self.images)) == 1
        assert self.node.store.queries.jobs("parked") == []
        wait_for(lambda: not list((self.node.folder / "data" / "outbox").glob("*")), "an empty outbox")
        wait_for(lambda: self.ready() == 200, "a node that is well")
        assert self.archive_up()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, make_orthanc_once: Callable[..., LocalOrthanc]) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("node")
    proxy = FaultyProxy("", free_port())
    with running_node(folder, make_orthanc_once, start=False, archive_url=proxy.url, pacs="timeout_s = 1.5") as node:
        proxy.target = node.orthanc.url
        proxy.start()
        node.start()
        httpx2.post(f"{node.url}/api/training/pause", timeout=10)
        files, truth_DHW = phantom(slices=40, size=48)
        images = node.send(files)
        slices = iter(np.flatnonzero(truth_DHW.any(axis=(1, 2))).tolist())
        yield Place(node, proxy, images, reader(images, truth_DHW), slices)
        proxy.stop()
        proxy.client.close()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (faults.status(401), "401. Check user, password"),
        (faults.status(404), "404. It does not know this path"),
        (faults.status(429), "429"),
        (faults.status(503), "503"),
        (faults.status(302), "302. Check its address; a proxy"),
        (faults.html, "no JSON. Check that the address is Orthanc's"),
        (faults.half, "broke off"),
        (faults.shortened, "no JSON"),
        (faults.reset, "broke off"),
        (faults.slow(2.5), "did not answer in time"),
    ],
    ids=["401", "404", "429", "503", "redirect", "HTML", "half a body", "wrong length", "reset", "too slow"],
)
def test_an_archive_that_cannot_be_read(place: Place, fault: Fault, said: str) -> None:
    place.proxy.applies, place.proxy.fault = _EVERYTHING, fault
    drawing = place.draw()
    wait_for(lambda: said in place.told(), f"the status to say {said!r}")
    assert place.ready() == 503
    assert not place.archive_up()
    assert httpx2.get(f"{place.node.url}/health/live", timeout=10).status_code == 200
    assert place.node.round_of(drawing) is None
    assert "worker waits" in place.node.log()
    place.proxy.fault = None
    place.one_answer(drawing)


@pytest.mark.parametrize(
    ("applies", "fault", "said"),
    [
        (_reading, faults.status(401), "401"),
        (_reading, faults.status(404), "lists it and does not give it"),
        (_reading, faults.status(500), "500"),
        (_reading, faults.html, "a text and no DICOM object"),
        (_reading, faults.half, "broke off"),
        (_storing, faults.status(403), "403"),
        (_storing, faults.status(503), "503"),
        (_storing, faults.html, "no JSON"),
        (_storing, faults.half, "broke off"),
    ],
    ids=["read 401", "read 404", "read 500", "read HTML", "read half", "store 403", "store 503", "store HTML", "store half"],
)
def test_an_answer_that_waits_for_the_archive(
    place: Place, applies: Callable[[str, str], bool], fault: Fault, said: str
) -> None:
    """The round keeps its job with the reason, where the page shows it, and no attempt is used up."""
    place.proxy.applies, place.proxy.fault = applies, fault
    drawing = place.draw()

    def waits() -> bool:
        found = place.node.round_of(drawing)
        jobs = place.node.get(f"/rounds/{found.round_id}")["jobs"] if found is not None else []
        return any(job["kind"] == "respond" and job["state"] == "ready" and said in job["reason"] for job in jobs)

    wait_for(waits, f"the job to say {said!r}")
    round_id = place.node.round_of(drawing).round_id
    (job,) = (job for job in place.node.store.queries.jobs_of(round_id) if job.kind == "respond")
    assert job.attempts <= 1, "the one in hand, if it is in hand"
    assert place.node.round_of(drawing).state in ("queued", "computed")
    assert "archive unavailable, will try again" in place.node.log()
    place.proxy.fault = None
    place.one_answer(drawing)


def test_an_object_that_was_cut_off_on_its_way_is_fetched_again(place: Place) -> None:
    place.proxy.applies, place.proxy.fault = _reading, faults.first_only(faults.shortened)
    drawing = place.draw()
    place.one_answer(drawing)
    assert "fetched once more before it is refused" in place.node.log()
    place.proxy.fault = None


def test_an_answer_that_is_too_large_waits_for_a_person(place: Place) -> None:
    """413 is about the object: nothing but a higher limit helps. All else goes on meanwhile."""
    place.proxy.applies, place.proxy.fault = _storing, faults.status(413)
    drawing = place.draw()
    wait_for(lambda: place.node.store.queries.jobs("parked"), "the job to be parked")
    (parked,) = place.node.store.queries.jobs("parked")
    assert "413. Raise the limit of the archive, or of the proxy before it, then `apprentice retry`." in parked.reason
    assert place.ready() == 200
    place.proxy.fault = None
    configuration = str(place.node.folder / "apprentice.toml")
    assert apprentice(["retry", str(parked.round_id), "--config", configuration]) == 0
    place.one_answer(drawing)


def test_an_archive_that_is_slow_and_in_time_is_only_slow(place: Place) -> None:
    place.proxy.applies, place.proxy.fault = lambda method, path: method == "POST", faults.slow(0.4)
    drawing = place.draw()
    place.one_answer(drawing)
    place.proxy.fault = None


def test_an_archive_that_is_down_when_the_node_starts_and_another_time(place: Place) -> None:
    place.node.stop()
    place.proxy.stop()
    drawing = place.draw()
    place.node.start()
    for more in (False, True):
        wait_for(lambda: "no connection to the archive. Check that it runs" in place.told(), "the status to say so")
        assert place.ready() == 503
        place.proxy.start()
        place.one_answer(drawing)
        if not more:
            place.proxy.stop()
            drawing = place.draw()


def test_a_password_that_was_changed_in_orthanc(place: Place) -> None:
    """The real Orthanc answers 401; restarted with the password that the node knows, all goes on."""
    drawing, orthanc = place.draw(), place.node.orthanc
    place.one_answer(drawing)
    known = dict(orthanc.credentials)
    orthanc.kill()
    orthanc.credentials = dict.fromkeys(known, "another one, only for tests")
    orthanc.start()
    wait_for(lambda: "401. Check user, password" in place.told(), "the status to say so")
    assert place.ready() == 503
    orthanc.kill()
    orthanc.credentials = known
    orthanc.start()
    place.one_answer(place.draw())


_NUMBERS = count(70)


@pytest.mark.parametrize("when", ["while it is read", "before it is delivered"])
def test_a_study_that_is_deleted_while_it_is_worked_on(place: Place, when: str) -> None:
    """No results alone come back to an archive that deleted the study; sent again, everything is answered."""
    node, files_and_truth = place.node, phantom(slices=10, size=32, seed=next(_NUMBERS), number=next(_NUMBERS))
    files, truth_DHW = files_and_truth
    images = node.send(files)
    study = node.orthanc_json("POST", "/tools/lookup", images.volume.series.study_instance_uid)[0]["ID"]
    drawing, read = reader(images, truth_DHW).draw([5], now()), count(1)

    def deleted(exchange: faults.Exchange, body: bytes) -> None:
        answer = exchange.ask(body)
        if next(read) == (3 if when == "while it is read" else 1 + len(files)):  # the drawing is the first
            node.orthanc_json("DELETE", f"/studies/{study}")
        exchange.reply(answer)

    place.proxy.applies, place.proxy.fault = _reading, deleted
    node.archive.store(drawing)
    trigger = node.instance_id(drawing)

    def state() -> str:
        return next((str(r.state) for r in node.rounds() if r.trigger_uid == trigger), "")

    wait_for(lambda: state() in ("withdrawn", "waiting"), "the deletion to be met")
    assert node.objects("prediction", images) == []
    place.proxy.fault = None
    node.send(files)
    node.archive.store(drawing)
    wait_for(lambda: state() == "answered", "the answer")
    assert len(node.objects("prediction", images)) == 1
