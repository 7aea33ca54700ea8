"""From settings to adapters: the right one, and files that cannot be used are named."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest

from dicom_io.pacs.dicomweb_archive import DicomWebArchive
from dicom_io.pacs.dimse_archive import DimseArchive
from dicom_io.pacs.inbox import Inbox
from dicom_io.pacs.orthanc_rest import OrthancArchive
from learner.errors import ConfigurationError
from learner.settings import load_settings
from learner.storage.store import LocalStore
from learner.wiring import take_training
from learner.wiring.archive import build_receiving, build_sink

INBOX = 'kind = "inbox"\nstore_by = "dimse"\n'
MOVE = 'kind = "dimse"\nstore_by = "dimse"\nretrieve_by = "move"\n'


@pytest.mark.parametrize(
    ("pacs", "archive", "receives"),
    [
        ("", OrthancArchive, False),
        ('kind = "dicomweb"\nstore_by = "dicomweb"\n', DicomWebArchive, False),
        ('kind = "dimse"\nstore_by = "dimse"\n', DimseArchive, False),
        (MOVE, DimseArchive, True),
        (INBOX, Inbox, True),
    ],
)
def test_each_kind_has_its_adapter(tmp_path: Path, pacs: str, archive: type, receives: bool) -> None:
    (tmp_path / "apprentice.toml").write_text(f'[node]\ndata = "data"\n[pacs]\n{pacs}')
    settings = load_settings(tmp_path / "apprentice.toml")
    with closing(LocalStore(settings.node.data)) as store:
        built, scp = build_receiving(settings, store)
        with closing(built):
            assert isinstance(built, archive)
            assert (scp is not None) == receives
            assert (build_sink(settings.pacs, built) is built) == (pacs == "")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[pacs]\nkind = "dimse"\nstore_by = "dimse"\ndimse_tls = true\ntls_ca_file = "none.pem"\n', "none.pem"),
        (
            '[pacs]\nkind = "dicomweb"\nstore_by = "dimse"\nurl = "https://x.example"\ntls_certificate_file = "bad.pem"\n',
            "bad.pem",
        ),
        (f'[pacs]\n{INBOX}[scp]\ntls = true\ntls_certificate_file = "bad.pem"\n', "bad.pem"),
    ],
)
def test_certificates_that_cannot_be_used_are_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    (tmp_path / "apprentice.toml").write_text(f'[node]\ndata = "data"\n{text}')
    settings = load_settings(tmp_path / "apprentice.toml")
    with closing(LocalStore(settings.node.data)) as store, pytest.raises(ConfigurationError, match=named):
        build_receiving(settings, store)


def test_a_trainer_waits_until_that_of_a_killed_node_has_ended(tmp_path: Path) -> None:
    old, stop, taken = LocalStore(tmp_path), threading.Event(), threading.Event()
    old.take_training()

    def begin() -> None:
        with closing(LocalStore(tmp_path)) as store:
            if take_training(store, stop):
                taken.set()
                stop.wait()

    thread = threading.Thread(target=begin)
    thread.start()
    assert not taken.wait(0.5)
    old.close()
    assert taken.wait(30)
    stop.set()
    thread.join()


def test_a_trainer_that_waits_can_be_stopped(tmp_path: Path) -> None:
    with closing(LocalStore(tmp_path)) as old, closing(LocalStore(tmp_path)) as store:
        old.take_training()
        stop = threading.Event()
        threading.Timer(0.3, stop.set).start()
        assert not take_training(store, stop)
