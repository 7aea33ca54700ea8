"""The doctor finds faults that are really caused, on real Orthancs and a real node, and names what to do about each."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
from doctor_sites import built_ohif, certificate, changed, proxy
from node_harness import RunningNode, free_port, now, phantom, reader, running_node, wait_for, with_attributes

from learner.demo.orthanc import LocalOrthanc, PluginOptions
from learner.doctor import Finding, Level, examine, worst
from learner.domain.job import JobKind
from learner.storage.store import LocalStore

pytestmark = [pytest.mark.orthanc, pytest.mark.xdist_group("doctor")]
Make = Callable[..., LocalOrthanc]
OK, WARNING, ERROR = Level.OK, Level.WARNING, Level.ERROR
URL, USER, PASSWORD, DATA = r"^url = .*", r"^user = .*", r"^password_file = .*", r"^data = .*"


def found(configuration: Path, *only: str, **options: bool) -> list[Finding]:
    return list(examine(configuration, only=only, **options))


def expect(findings: list[Finding], name: str, level: Level, what: str, remedy: str) -> None:
    """One finding says ``what`` and ``remedy``, at that level."""
    fitting = [one for one in findings if (one.name, one.level) == (name, level) and what in one.what]
    assert fitting, findings
    assert any(remedy in one.remedy for one in fitting), fitting


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, make_orthanc_once: Make) -> Iterator[RunningNode]:
    """A sound site: Orthanc with both plugins, a node that serves a viewer, a series that its task matches."""
    folder = tmp_path_factory.mktemp("doctor")
    ohif = built_ohif(folder / "ohif")
    with running_node(folder, make_orthanc_once, orthanc_stable_age=2, pacs=f'[viewer]\nfolder = "{ohif}"') as node:
        (folder / "password").chmod(0o600)
        node.send(phantom()[0])
        wait_for(lambda: httpx2.get(f"{node.url}/health/ready").status_code == 200, "the node to have read the archive")
        yield node


@pytest.fixture
def configuration(node: RunningNode) -> Path:
    return node.folder / "apprentice.toml"


def test_a_sound_site_has_no_finding_and_keeps_nothing_of_the_round_trip(node: RunningNode, configuration: Path) -> None:
    findings = found(configuration, write=True)
    assert [one for one in findings if one.level is not OK and one.name not in ("disk", "hardware")] == []
    expect(findings, "round-trip", OK, "byte for byte", "")
    expect(findings, "plugin", OK, "a nudge took", "")
    expect(findings, "labelmap", OK, "accepted", "")
    expect(findings, "viewer-route", OK, "reads and saves", "")
    assert len(node.orthanc_json("GET", "/studies")) == 1, "the test study is deleted"


# --- settings, secrets and the archive's address, against the sound site


def test_a_wrong_password(configuration: Path) -> None:
    (configuration.parent / "wrong").write_text("wrong\n")
    (configuration.parent / "wrong").chmod(0o600)
    other = changed(configuration, "wrong-password", (PASSWORD, 'password_file = "wrong"'))
    expect(found(other, "archive"), "archive", ERROR, "401", "pacs.password_file")


def test_an_unknown_key(configuration: Path) -> None:
    other = changed(configuration, "unknown-key", (r"^poll_s = .*", "pol_s = 1"))
    expect(found(other), "settings", ERROR, "pacs.pol_s: unknown key, did you mean pacs.poll_s?", "Correct the settings")


def test_a_secret_that_everybody_reads(configuration: Path) -> None:
    shutil.copy(configuration.parent / "password", configuration.parent / "open")
    (configuration.parent / "open").chmod(0o644)
    other = changed(configuration, "open-secret", (PASSWORD, 'password_file = "open"'))
    expect(found(other, "secrets"), "secrets", WARNING, "mode 644", "chmod 600")


@pytest.mark.parametrize(
    ("begins", "ends", "level", "what", "remedy"),
    [
        (-9, -2, ERROR, "expired", "Renew it"),
        (-9, 9, WARNING, "expires", "Renew it"),
        (5, 99, ERROR, "is valid from", "clock"),
        (-9, 99, OK, "valid until", ""),
    ],
)
def test_certificates_by_their_dates(configuration: Path, begins: int, ends: int, level: Level, what: str, remedy: str) -> None:
    file = certificate(configuration.parent, begins, ends)
    other = changed(configuration, "scp", more=f'[scp]\ntls = true\ntls_certificate_file = "{file.name}"')
    expect(found(other, "certificates"), "certificates", level, what, remedy)


def test_an_archive_with_an_expired_certificate(node: RunningNode, configuration: Path) -> None:
    file = certificate(configuration.parent, -9, -2)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    with proxy(node.orthanc.url, {}, tls) as url:
        other = changed(configuration, "tls", (URL, f'url = "{url}"\ntls_ca_file = "{file.name}"'))
        expect(found(other, "archive"), "archive", ERROR, "expired", "Renew the archive's certificate")


def test_a_clock_that_goes_wrong(node: RunningNode, configuration: Path) -> None:
    with proxy(node.orthanc.url, {"/tools/now": lambda answer: (answer[0], b"20200101T000000")}) as url:
        expect(found(changed(configuration, "clock", (URL, f'url = "{url}"')), "clock"), "clock", WARNING, "differ", "NTP")


def test_a_right_that_is_missing(node: RunningNode, configuration: Path) -> None:
    with proxy(node.orthanc.url, {"/tools/lookup": lambda _: (403, b"{}")}) as url:
        other = changed(configuration, "rights", (URL, f'url = "{url}"'))
        expect(found(other, "rights"), "rights", ERROR, "refuses POST /tools/lookup", "Allow it to pacs.user")


def test_an_archive_that_refuses_segmentations_or_changes_them(node: RunningNode, configuration: Path) -> None:
    with proxy(node.orthanc.url, {"/instances": lambda _: (403, b"{}")}) as url:
        other = changed(configuration, "refuses", (URL, f'url = "{url}"'))
        expect(found(other, "round-trip", write=True), "round-trip", ERROR, "cannot be stored", "right to store")
    assert len(node.orthanc_json("GET", "/studies")) == 1, "what got through is deleted"


# --- the node's data


def test_a_read_only_data_folder(configuration: Path, tmp_path: Path) -> None:
    """By the command, as a user who may read it and nothing else; root may write whatever its mode."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o005 == 0o005:
            break  # from here on everybody may pass
        folder.chmod(0o755)
    (tmp_path / "data").mkdir(mode=0o555)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "apprentice.toml").write_text('[node]\ndata = "data"\n')
    command = [
        sys.executable,
        "-m",
        "learner",
        "doctor",
        "--only",
        "data-folder",
        "--json",
        "-c",
        str(tmp_path / "apprentice.toml"),
    ]
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    result = subprocess.run([*nobody, *command], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 2, result.stderr
    (finding,) = json.loads(result.stdout)["findings"]
    assert (finding["name"], finding["level"]) == ("data-folder", "error")
    assert "cannot be written" in finding["what"]
    assert "set node.data" in finding["remedy"]


def test_a_full_disk(configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a small file system where the tests may mount one; elsewhere the size is pretended."""
    (tmp_path / "data").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(tmp_path / "data")]
    mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    if not mounted:
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=2**20))
    try:
        other = changed(configuration, "full", (DATA, f'data = "{tmp_path / "data"}"'))
        expect(found(other, "disk"), "disk", ERROR, "0.0 GiB are free", "Free some space")
    finally:
        if mounted:
            subprocess.run(["umount", str(tmp_path / "data")], check=True)


def test_a_second_node_on_the_store(configuration: Path) -> None:
    other = changed(configuration, "second", (r"^port = .*", f"port = {free_port()}"))
    findings = found(other, "lock", "node")
    expect(findings, "lock", ERROR, "another node works on", "node.data")
    expect(findings, "node", ERROR, "does not answer", "Start `apprentice serve`")


@pytest.fixture
def own_store(configuration: Path, tmp_path: Path) -> tuple[Path, LocalStore]:
    """A store that no node works on, and settings that name it."""
    data = tmp_path / "store"
    store = LocalStore(data)
    return changed(configuration, "own-store", (DATA, f'data = "{data}"')), store


def test_a_damaged_database(own_store: tuple[Path, LocalStore]) -> None:
    configuration, store = own_store
    for number in range(500):
        store.records.open_round(f"object-{number}", "1.2.3")
    store.close()
    path = store.folder / "apprentice.sqlite"
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 8192)
    expect(found(configuration, "jobs"), "store", ERROR, "apprentice.sqlite", "restore the data folder from its backup")


def test_a_database_of_a_newer_version(own_store: tuple[Path, LocalStore]) -> None:
    configuration, store = own_store
    store.close()
    with closing(sqlite3.connect(store.folder / "apprentice.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 999")
    expect(found(configuration, "store"), "store", ERROR, "newer version", "Install that version")


def test_a_job_that_was_given_up(own_store: tuple[Path, LocalStore]) -> None:
    configuration, store = own_store
    store.records.open_round("object", "1.2.3")
    store.jobs.add(JobKind.RESPOND, 1)
    job = store.jobs.claim(JobKind.RESPOND, 60.0)
    assert job is not None
    store.jobs.park(job, "the archive refuses it")
    store.close()
    expect(found(configuration, "jobs"), "jobs", WARNING, "the archive refuses it", "apprentice retry 1")


def test_too_few_open_files(configuration: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    try:
        expect(found(configuration, "limits"), "limits", WARNING, "512 files", "ulimit -n")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# --- tasks and annotations


def test_a_task_that_matches_nothing(node: RunningNode, configuration: Path) -> None:
    tasks = node.folder / "other-tasks"
    tasks.mkdir()
    text = (node.folder / "tasks" / "prostate.toml").read_text()
    (tasks / "spleen.toml").write_text(text.replace('["MR"]', '["MR"]\nseries_description = "portal venous"'))
    (tasks / "liver.toml").write_text(text.replace('["MR"]', '["CT"]'))
    findings = found(changed(configuration, "tasks", (r'^folder = "tasks"', 'folder = "other-tasks"')), "matching")
    expect(findings, "matching", WARNING, "spleen matches none", "series_description = 'portal venous'")
    expect(findings, "matching", WARNING, "liver matches none", "no series has modality CT; there are MR")


def test_annotations_that_are_ignored(node: RunningNode, configuration: Path) -> None:
    """One on a series that no task wants, one whose images never came."""
    files, truth_DHW = phantom(number=2)
    unwanted = [with_attributes(file, Modality="PT") for file in files]
    person = reader(node.send(unwanted), truth_DHW)
    refused = person.draw([4, 7], now())
    node.archive.store(refused)
    node.answered(refused, "refused")
    images, truth_DHW = phantom(number=3)
    from dicom_io.read_series import read_series  # noqa: PLC0415 - beside what it is for

    waiting = reader(read_series(images), truth_DHW).draw([4, 7], now())
    node.archive.store(waiting)
    node.answered(waiting, "waiting")
    findings = found(configuration, "annotations")
    expect(findings, "annotations", WARNING, "1 annotation is ignored", "apprentice retry")
    expect(findings, "annotations", WARNING, "1 annotation is waiting", "Send their image series")


# --- the viewer


def test_a_viewer_without_a_file(configuration: Path, tmp_path: Path) -> None:
    ohif = built_ohif(tmp_path / "ohif")
    other = changed(configuration, "ohif", (r'^folder = ".*ohif"', f'folder = "{ohif}"'))
    (ohif / "app.bundle.0123456789abcdef0123.js").rename(ohif / "app.bundle.other.js")
    expect(found(other, "viewer"), "viewer", ERROR, "lacks app.bundle.0123456789abcdef0123.js", "./run viewer")
    (ohif / "index.html").unlink()
    expect(found(other, "viewer"), "viewer", ERROR, "index.html is not there", "./run viewer")


@pytest.mark.parametrize(
    ("old", "new", "what", "remedy"),
    [
        ("wadoRoot: '/dicom-web'", "wadoRoot: 'https://pacs.example/dicom-web'", "another origin", "'/dicom-web'"),
        ("qidoRoot: '/dicom-web'", "qidoRoot: '/orthanc/dicom-web'", "does not pass on", "'/dicom-web'"),
        ("qidoRoot: '/dicom-web',", "", "qidoRoot is not set", "'/dicom-web'"),
        ("extensions: [links],", "extensions: [links", "in line", "config/ohif.js is one that works"),
        ("routerBasename: '/ohif'", "routerBasename: '/viewer'", "serves the viewer at /ohif", "Set it to '/ohif'"),
    ],
)
def test_a_configuration_of_the_viewer_that_cannot_work(
    configuration: Path, old: str, new: str, what: str, remedy: str
) -> None:
    text = (Path(__file__).parents[2] / "config" / "ohif.js").read_text(encoding="utf-8")
    assert old in text
    (configuration.parent / "ohif.js").write_text(text.replace(old, new), encoding="utf-8")
    other = changed(configuration, "ohif-js", (r'^folder = ".*ohif"', '\\g<0>\nconfiguration = "ohif.js"'))
    expect(found(other, "viewer-configuration"), "viewer-configuration", ERROR, what, remedy)


# --- Orthanc's own settings


@pytest.fixture(scope="module")
def careless(make_orthanc_once: Make) -> LocalOrthanc:
    """An Orthanc with all that may be set wrong, set wrong."""
    settings = {
        "Plugins": ["/usr/share/orthanc/plugins/libOrthancPython.so"],
        "AuthenticationEnabled": False,
        "HttpCompressionEnabled": True,
        "UnknownSopClassAccepted": False,
        "OverwriteInstances": True,
        "ExecuteLuaEnabled": True,
    }
    plugin = PluginOptions(learner_url=f"http://127.0.0.1:{free_port()}")
    orthanc = make_orthanc_once(plugin=plugin, stable_age=600, settings=settings)
    orthanc.start()
    return orthanc


def test_an_orthanc_that_is_set_up_carelessly(careless: LocalOrthanc, configuration: Path) -> None:
    other = changed(configuration, "careless", (URL, f'url = "{careless.url}"'))
    findings = found(other, "dicomweb", "rights", "stable-age", "orthanc-settings", "plugin", "labelmap")
    expect(findings, "dicomweb", ERROR, "not loaded", "libOrthancDicomWeb.so")
    expect(findings, "rights", WARNING, "asks nobody for a password", "AuthenticationEnabled")
    expect(findings, "stable-age", WARNING, "600 s", "Set StableAge")
    expect(findings, "orthanc-settings", WARNING, "compresses", "HttpCompressionEnabled to false")
    expect(findings, "orthanc-settings", WARNING, "replaces the first", "OverwriteInstances to false")
    expect(findings, "orthanc-settings", WARNING, "run programs", "ExecuteLuaEnabled to false")
    expect(findings, "plugin", WARNING, "does not reach the node", "LearnerUrl")
    expect(findings, "labelmap", WARNING, "refuses label map", "UnknownSopClassAccepted")


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # pynetdicom's, where a connection is refused
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the same
def test_an_orthanc_without_our_plugin_that_knows_us_by_no_name(configuration: Path, make_orthanc_once: Make) -> None:
    settings = {"DicomCheckCalledAet": True}
    orthanc = make_orthanc_once(credentials={"orthanc": "orthanc"}, settings=settings)
    orthanc.start()
    (configuration.parent / "known").write_text("orthanc\n")
    lines = [(URL, f'url = "{orthanc.url}"\ncalled_aet = "ELSEWHERE"'), (USER, 'user = "orthanc"')]
    lines += [(PASSWORD, 'password_file = "known"'), (r"^store_by = .*", 'store_by = "dimse"')]
    lines += [(r"^dimse_port = .*", f"dimse_port = {orthanc.dicom_port}")]
    findings = found(changed(configuration, "plain", *lines), "rights", "python-plugin", "plugin", "dimse")
    expect(findings, "rights", ERROR, "well-known password", "RegisteredUsers")
    expect(findings, "python-plugin", WARNING, "not loaded", "libOrthancPython.so")
    expect(findings, "plugin", WARNING, "not loaded", "PythonScript")
    expect(findings, "dimse", ERROR, "ELSEWHERE", "pacs.called_aet")
    orthanc.kill()
    stopped = found(configuration.with_name("plain.toml"), "archive", "dimse", "matching")
    expect(stopped, "archive", ERROR, "does not answer", "Start Orthanc")
    expect(stopped, "dimse", ERROR, "ELSEWHERE at 127.0.0.1", "pacs.dimse_port")
    assert {one.name for one in stopped} == {"archive", "dimse"}, "what needs the archive is left out"


# --- the node itself; these come last, because they leave their traces in it


def test_a_trainer_that_dies(node: RunningNode, configuration: Path) -> None:
    assert node.process is not None
    lists = Path(f"/proc/{node.process.pid}/task").glob("*/children")  # of each thread
    children = [pid for one in lists for pid in one.read_text().split()]
    trainers = [int(pid) for pid in children if b"trainer" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert trainers
    os.kill(trainers[0], signal.SIGKILL)
    wait_for(lambda: worst(found(configuration, "trainer")) is not OK, "the node to see it")
    wait_for(lambda: found(configuration, "trainer")[0].level is WARNING, "the trainer to be started again")
    expect(found(configuration, "trainer"), "trainer", WARNING, "started again", "machine's memory")


def test_a_node_that_is_stopped(node: RunningNode, configuration: Path) -> None:
    node.kill()
    findings = found(configuration, "node", "plugin", "viewer-route")
    expect(findings, "node", ERROR, "does not answer", "Start `apprentice serve`")
    expect(findings, "plugin", WARNING, "does not reach the node", "Start `apprentice serve`")
    assert "viewer-route" not in {one.name for one in findings}
