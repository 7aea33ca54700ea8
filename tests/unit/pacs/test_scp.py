"""Our own SCP: who may send, what is refused, and that success means *on disk*."""

from __future__ import annotations

import gc
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from io import BytesIO
from pathlib import Path
from typing import Self

import pytest
from certificates import Certificates
from pydicom import Dataset, dcmread
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import MRImageStorage, StorageCommitmentPushModel
from slices import make_slices, uids

from dicom_io.errors import PacsRefused, PacsUnavailable
from dicom_io.pacs.association import Peer, association, echo, prepare
from dicom_io.pacs.commitment import PUSH_MODEL
from dicom_io.pacs.dimse import send_to
from dicom_io.pacs.inbox import Inbox
from dicom_io.pacs.scp import StorageScp
from dicom_io.pacs.tls import client_tls, server_tls

_WAIT_S = 20.0
needs_dcmtk = pytest.mark.skipif(shutil.which("storescu") is None, reason="dcmtk absent: apt-get install dcmtk")


class Site:
    """An inbox behind our SCP."""

    def __init__(self, stack: ExitStack, folder: Path, **options: object) -> None:
        self.inbox = stack.enter_context(closing(Inbox(folder)))
        self.scp = stack.enter_context(StorageScp(self.inbox, "NODE", **{"timeout": 10.0} | options))

    def peer(self, called: str = "NODE", calling: str = "MODALITY", tls: ssl.SSLContext | None = None) -> Peer:
        return Peer("127.0.0.1", self.scp.port, called, calling, timeout=10, tls=tls)

    def dcmtk(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [program, "-aec", "NODE", *arguments[:-1], "127.0.0.1", str(self.scp.port), *arguments[-1:]]
        return subprocess.run([part for part in command if part], check=False, capture_output=True, text=True, timeout=60)


def test_echo_and_store(stack: ExitStack, tmp_path: Path) -> None:
    site, files = Site(stack, tmp_path), make_slices(3)
    echo(site.peer())
    send_to(site.peer(), files)
    assert len(site.inbox.find_series(uids(files[0])[1]).instance_ids) == 3


def test_what_arrives_is_told(stack: ExitStack, tmp_path: Path) -> None:
    told = threading.Event()
    inbox = stack.enter_context(closing(Inbox(tmp_path)))
    scp = StorageScp(inbox, "NODE")
    scp.start(told.set)
    stack.callback(scp.stop)
    send_to(Peer("127.0.0.1", scp.port, "NODE"), make_slices(1))
    assert told.is_set()


@pytest.mark.parametrize(("called", "calling"), [("NODE", "STRANGER"), ("OTHER", "MODALITY")])
def test_who_is_not_allowed_or_calls_another_is_refused(
    stack: ExitStack, tmp_path: Path, caplog: pytest.LogCaptureFixture, called: str, calling: str
) -> None:
    site = Site(stack, tmp_path, allowed_aets=["MODALITY"])
    with pytest.raises(PacsRefused, match="rejected"):
        send_to(site.peer(called, calling), make_slices(1))
    assert list(site.inbox.scan()) == []
    assert "association refused" in caplog.text
    send_to(site.peer(), make_slices(1))


def test_no_more_associations_than_allowed(stack: ExitStack, tmp_path: Path) -> None:
    site = Site(stack, tmp_path, associations=1)
    with association(site.peer(), [build_context(MRImageStorage)]), pytest.raises(PacsUnavailable):
        echo(site.peer())
    _until(lambda: _works(lambda: echo(site.peer())))


def _works(call: Callable[[], None]) -> bool:
    try:
        call()
    except PacsUnavailable:
        return False
    return True


def test_an_object_that_is_cut_off_or_another_one_is_refused(
    stack: ExitStack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(stack, tmp_path)
    file = make_slices(1)[0]
    with _raw(site, MRImageStorage) as opened:
        assert opened(file, cut=200) == 0xC000
        assert opened(file, uid="1.2.3.4.5") == 0xA900
        assert opened(file) == 0x0000
    assert len(list(site.inbox.scan())) == 1
    assert "Test^Only" not in caplog.text


class _raw:  # noqa: N801
    """Sends data sets that a well-behaved sender would not."""

    def __init__(self, site: Site, sop_class: str, sent: Callable[[evt.Event], None] = lambda _event: None) -> None:
        entity = AE("MODALITY")
        entity.dimse_timeout = entity.network_timeout = 5
        self._opened = entity.associate(
            "127.0.0.1",
            site.scp.port,
            contexts=[build_context(sop_class, "1.2.840.10008.1.2.1")],
            ae_title="NODE",
            evt_handlers=[(evt.EVT_PDU_SENT, sent), (evt.EVT_CONN_OPEN, prepare)],
        )
        assert self._opened.is_established

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._opened.is_established:
            self._opened.release()

    def __call__(self, file: bytes, cut: int = 0, uid: str = "") -> int | None:
        content = dcmread(BytesIO(file))
        body = file[file.index(b"\x08\x00\x16\x00") :]
        request = C_STORE()
        request.MessageID, request.Priority = 7, 2
        request.AffectedSOPClassUID = content.SOPClassUID
        request.AffectedSOPInstanceUID = uid or content.SOPInstanceUID
        request.DataSet = BytesIO(body[: len(body) - cut])
        self._opened._reactor_checkpoint.clear()
        self._opened.dimse.send_msg(request, self._opened.accepted_contexts[0].context_id)
        _, answer = self._opened.dimse.get_msg(block=True)
        self._opened._reactor_checkpoint.set()
        return None if answer is None else int(answer.Status)


def test_a_sender_that_dies_half_way_leaves_nothing(stack: ExitStack, tmp_path: Path) -> None:
    site = Site(stack, tmp_path)
    files = make_slices(2, size=512)
    pieces: list[object] = []

    def cut_off(event: evt.Event) -> None:
        """Closes the connection after a few pieces of the second object."""
        pieces.append(event.pdu)
        if len(pieces) == stops_at:
            event.assoc.dul.socket.socket.shutdown(socket.SHUT_RDWR)

    stops_at = 0
    with _raw(site, MRImageStorage, cut_off) as opened:
        assert opened(files[0]) == 0x0000
        stops_at = len(pieces) + 3
        assert opened(files[1]) is None
    assert len(site.inbox.find_series(uids(files[0])[1]).instance_ids) == 1
    send_to(site.peer(), files)
    assert len(site.inbox.find_series(uids(files[0])[1]).instance_ids) == 2


@pytest.mark.parametrize("announced", [2**31, 2**20 + 1])
def test_nobody_makes_us_read_a_pdu_of_any_length(stack: ExitStack, tmp_path: Path, announced: int) -> None:
    site = Site(stack, tmp_path)
    with socket.create_connection(("127.0.0.1", site.scp.port), timeout=_WAIT_S) as connection:
        connection.sendall(b"\x01\x00" + announced.to_bytes(4, "big") + b"x" * 1000)
        with suppress(ConnectionError):
            assert connection.recv(1000) == b""
    echo(site.peer())


def test_an_object_over_the_limit_cuts_its_sender_off(stack: ExitStack, tmp_path: Path) -> None:
    site = Site(stack, tmp_path, max_object_bytes=200_000)
    with pytest.raises(PacsUnavailable):
        send_to(site.peer(), make_slices(1, size=512))
    assert list(site.inbox.scan()) == []
    send_to(site.peer(), make_slices(1))


def test_a_full_spool_is_said(stack: ExitStack, tmp_path: Path) -> None:
    inbox = stack.enter_context(closing(Inbox(tmp_path, limit_bytes=100)))
    scp = stack.enter_context(StorageScp(inbox, "NODE"))
    with pytest.raises(PacsUnavailable, match="0xa700"):
        send_to(Peer("127.0.0.1", scp.port, "NODE"), make_slices(1))


# TLS


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom 3.0.4 leaves a refused socket open
def test_with_tls_nothing_goes_without_it_or_with_a_strangers_certificate(
    stack: ExitStack, tmp_path: Path, certificates: Certificates
) -> None:
    tls = server_tls(certificates.certificate("node"), certificates.key("node"), certificates.ca)
    site = Site(stack, tmp_path, tls=tls, timeout=5.0)
    ours = client_tls(certificates.ca, certificates.certificate("sender"), certificates.key("sender"))
    send_to(site.peer(tls=ours), make_slices(2))
    assert len(list(site.inbox.scan())) == 1
    strangers = client_tls(certificates.ca, certificates.certificate("stranger"), certificates.key("stranger"))
    for tls_of_sender in (None, strangers, client_tls(certificates.ca), client_tls()):
        with pytest.raises(PacsUnavailable):
            echo(Peer("127.0.0.1", site.scp.port, "NODE", timeout=5, tls=tls_of_sender))
    assert len(list(site.inbox.scan())) == 1
    gc.collect()  # so that a socket's warning falls into this test and not into a later one


def test_who_connects_and_says_nothing_holds_up_nobody(stack: ExitStack, tmp_path: Path, certificates: Certificates) -> None:
    tls = server_tls(certificates.certificate("node"), certificates.key("node"))
    site = Site(stack, tmp_path, tls=tls)
    with socket.create_connection(("127.0.0.1", site.scp.port)):
        echo(site.peer(tls=client_tls(certificates.ca)))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom 3.0.4 leaves a refused socket open
@needs_dcmtk
def test_dcmtk_sends_by_tls(stack: ExitStack, tmp_path: Path, certificates: Certificates) -> None:
    tls = server_tls(certificates.certificate("node"), certificates.key("node"), certificates.ca)
    site = Site(stack, tmp_path / "inbox", tls=tls)
    (tmp_path / "slice.dcm").write_bytes(make_slices(1)[0])
    options = ["+tls", str(certificates.key("sender")), str(certificates.certificate("sender")), "+cf", str(certificates.ca)]
    assert site.dcmtk("echoscu", *options, "").returncode == 0
    sent = site.dcmtk("storescu", *options, str(tmp_path / "slice.dcm"))
    assert sent.returncode == 0, sent.stderr
    assert len(list(site.inbox.scan())) == 1
    strangers = [str(certificates.key("stranger")), str(certificates.certificate("stranger"))]
    assert site.dcmtk("echoscu", "+tls", *strangers, "+cf", str(certificates.ca), "").returncode != 0
    gc.collect()


@needs_dcmtk
def test_dcmtk_sends_without_tls(stack: ExitStack, tmp_path: Path) -> None:
    site = Site(stack, tmp_path / "inbox", allowed_aets=["CT1"])
    (tmp_path / "slice.dcm").write_bytes(make_slices(1)[0])
    assert site.dcmtk("storescu", "-aet", "CT1", str(tmp_path / "slice.dcm")).returncode == 0
    assert site.dcmtk("storescu", "-aet", "CT2", str(tmp_path / "slice.dcm")).returncode != 0


# Storage commitment


class Requester:
    """Asks for storage commitment, and takes the report on the association that asked, or at a port of its own."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, Dataset]] = []
        self.came = threading.Event()

    def report(self, event: evt.Event) -> tuple[int, None]:
        self.reports.append((event.request.EventTypeID, event.event_information))
        self.came.set()
        return 0x0000, None

    def ask(self, site: Site, instances: list[tuple[str, str]], *, stay: bool, action: int = 1) -> int:
        request = Dataset()
        request.TransactionUID = "1.2.3.4"
        request.ReferencedSOPSequence = []
        for sop_class, uid in instances:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
            request.ReferencedSOPSequence.append(item)
        handlers = [(evt.EVT_N_EVENT_REPORT, self.report)] if stay else []
        with association(site.peer(), [build_context(PUSH_MODEL)], handlers=handlers) as opened:
            answer, _ = opened.send_n_action(request, action, PUSH_MODEL, "1.2.840.10008.1.20.1.1")
            if stay:
                assert self.came.wait(_WAIT_S)
                opened.abort()  # pynetdicom 3.0.4 may wait for ever in a release that meets the thread of a report
        return int(answer.Status)


@pytest.mark.parametrize("own", [False, True])
def test_commitment_tells_what_is_really_there(stack: ExitStack, tmp_path: Path, own: bool) -> None:
    requester, entity = Requester(), AE("MODALITY")
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    handlers = [(evt.EVT_N_EVENT_REPORT, requester.report)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    stack.callback(server.shutdown)
    inbox = stack.enter_context(closing(Inbox(tmp_path)))
    peers = {"MODALITY": Peer("127.0.0.1", server.server_address[1], "MODALITY", "NODE")} if own else {}
    site = Site(stack, tmp_path, holds=inbox.holds, commitment_peers=peers)
    files = make_slices(2)
    send_to(site.peer(), files)
    there, gone = (uids(file)[0] for file in files)
    name = next(path for path in tmp_path.glob("files/*/*") if uids(path.read_bytes())[0] == gone)
    name.unlink()

    assert requester.ask(site, [(MRImageStorage, there)], stay=not own) == 0
    assert requester.came.wait(_WAIT_S)
    assert requester.reports[0][0] == 1
    assert [item.ReferencedSOPInstanceUID for item in requester.reports[0][1].ReferencedSOPSequence] == [there]
    assert requester.reports[0][1].TransactionUID == "1.2.3.4"

    requester.came.clear()
    wanted = [(MRImageStorage, there), (MRImageStorage, gone), ("1.2.840.10008.5.1.4.1.1.2", there), (MRImageStorage, "1.9")]
    assert requester.ask(site, wanted, stay=not own) == 0
    assert requester.came.wait(_WAIT_S)
    event_type, report = requester.reports[1]
    assert event_type == 2
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == [there]
    assert [int(item.FailureReason) for item in report.FailedSOPSequence] == [0x0112, 0x0119, 0x0112]


def test_a_request_that_is_none_is_refused(stack: ExitStack, tmp_path: Path) -> None:
    inbox = stack.enter_context(closing(Inbox(tmp_path)))
    site = Site(stack, tmp_path, holds=inbox.holds)
    assert Requester().ask(site, [(MRImageStorage, "1.2")], stay=False, action=2) == 0x0123
    assert Requester().ask(site, [], stay=False) == 0x0115


def test_without_commitment_it_is_not_offered(stack: ExitStack, tmp_path: Path) -> None:
    site = Site(stack, tmp_path)
    with pytest.raises(PacsRefused, match=PUSH_MODEL):
        Requester().ask(site, [(MRImageStorage, "1.2")], stay=False)


def _until(condition: Callable[[], bool]) -> None:
    done = threading.Event()
    for _ in range(200):
        if condition():
            return
        done.wait(0.05)
    raise AssertionError("waited in vain")
