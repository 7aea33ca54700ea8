"""From settings to adapters: the right one, and files that cannot be used are named."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest
from slices import make_slices

from dicom_io.errors import NotInPacs
from dicom_io.pacs.dicomweb_archive import DicomWebArchive
from dicom_io.pacs.dimse_archive import DimseArchive
from dicom_io.pacs.inbox import Inbox
from dicom_io.pacs.orthanc_rest import OrthancArchive
from dicom_io.pacs.port import SeriesStatus
from learner.errors import ConfigurationError
from learner.settings import load_settings
from learner.storage.store import LocalStore
from learner.wiring import build_housekeeping, build_node, take_training
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


def test_an_inbox_that_deletes_to_make_room_makes_nothing_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "apprentice.toml"
    path.write_text(f'[pacs]\n{INBOX}[learning]\non_pacs_delete = "purge"\n')
    with pytest.raises(ConfigurationError, match="on_pacs_delete"):
        load_settings(path)


@pytest.mark.parametrize(("setting", "ordered"), [("keep", 0), ("purge", 1)])
def test_a_node_forgets_what_is_deleted_where_its_settings_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, ordered: int
) -> None:
    (tmp_path / "tasks").mkdir()
    path = tmp_path / "apprentice.toml"
    path.write_text(f'[node]\ndata = "data"\n[learning]\non_pacs_delete = "{setting}"\n[retention]\nrounds_days = 30\n')

    def gone(_self: OrthancArchive, uid: str) -> SeriesStatus:
        raise NotInPacs(uid, "it is gone", "Send it.")

    monkeypatch.setattr(OrthancArchive, "scan", lambda _self: iter(()))
    monkeypatch.setattr(OrthancArchive, "find_series", gone)
    node = build_node(load_settings(path), path)
    node.store.records.case("prostate", "1.2.3", "1.2.4")
    node._intake.reconcile()
    assert len(node.store.forgotten.all()) == ordered
    assert node.housekeeping is not None
    node.housekeeping.run_once()
    assert node.store.forgotten.unfinished() == ()
    node.store.close()


def test_the_node_s_own_spool_and_replay_memories_forget_too(tmp_path: Path) -> None:
    path = tmp_path / "apprentice.toml"
    path.write_text(f'[node]\ndata = "data"\n[pacs]\n{INBOX}')
    settings = load_settings(path)
    with closing(LocalStore(settings.node.data)) as store:
        inbox, _ = build_receiving(settings, store)
        with closing(inbox):  # type: ignore[type-var]
            for file in make_slices(2):
                inbox.store(file)
            (one,) = inbox.scan()
            damaged = settings.node.data / "replay" / "prostate" / f"{'0' * 64}.npz"
            damaged.parent.mkdir(parents=True)
            damaged.write_bytes(b"no example")
            store.records.case("prostate", one.study_instance_uid, one.series_instance_uid)
            housekeeping = build_housekeeping(settings, store, inbox)
            housekeeping.forgotten.order(one.study_instance_uid, why="asked")
            assert housekeeping.purge.run_once()
            assert list(inbox.scan()) == []
            assert not damaged.exists()


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
