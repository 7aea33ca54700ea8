"""The doctor finds what is wrong, names the remedy, and changes nothing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from learner.doctor import Level, examine, machine
from learner.errors import ConfigurationError
from learner.storage.store import LocalStore

Run = Callable[..., tuple[int, str, str]]
NODE = {"version": "0.1.0", "node": {"archive_error": "", "trainer_alive": True, "trainer_restarts": 0}}


ANYBODY = "Basic bm9kZTpzZWNyZXQ="  # node:secret


class Answers:
    """What a pretended Orthanc, and a pretended node, answer: status and body by path."""

    def __init__(self) -> None:
        self.counters = {"version": "0.1.0", "delivered": 1, "delivered_at": 1.0}
        now = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        self.by_path: dict[str, tuple[int, object]] = {
            "/system": (200, {"Version": "1.12.6"}),
            "/changes": (200, {"Changes": [], "Done": True, "Last": 0}),
            "/tools/lookup": (200, []),
            "/tools/bulk-content": (200, []),
            "/dicom-web/studies": (200, []),
            "/tools/now": (200, now),
            "/plugins": (200, ["explorer.js", "python", "dicom-web"]),
            "/apprentice/status": (200, {"learner": {"reachable": True, "problem": ""}, "plugin": self.counters}),
            "/apprentice/nudge": (200, {}),
            "/series": (200, []),
            "/api/status": (200, NODE),
            "/health/ready": (200, {"status": "ready"}),
        }


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def site(configuration: Path, answers: Answers) -> Iterator[Path]:
    """Settings of a node, and an archive that answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            ours = not path.startswith(("/api", "/health")) and self.headers["Authorization"] != ANYBODY
            answers.counters["delivered"] += path == "/apprentice/nudge"
            status, body = (401, {}) if ours else answers.by_path.get(path, (404, {}))
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        text = configuration.read_text(encoding="utf-8")
        text = text.replace("http://127.0.0.1:9", f"http://127.0.0.1:{server.server_port}").replace(
            "port = 9", f"port = {server.server_port}"
        )
        text = text.replace("[pacs]\n", '[pacs]\nuser = "node"\npassword_file = "password"\n')
        configuration.write_text(text, encoding="utf-8")
        password = configuration.with_name("password")
        password.write_text("secret\n", encoding="utf-8")
        password.chmod(0o600)
        yield configuration
        server.shutdown()
        thread.join()


def levels(configuration: Path) -> dict[str, Level]:
    """The worst level of each check."""
    found: dict[str, Level] = {}
    order = list(Level)
    for finding in examine(configuration):
        assert finding.remedy or finding.level is Level.OK
        found[finding.name] = max(found.get(finding.name, Level.OK), finding.level, key=order.index)
    return found


def test_a_sound_site_has_no_finding(site: Path) -> None:
    assert set(levels(site).values()) == {Level.OK}


@pytest.mark.parametrize(
    ("path", "answer", "check", "level"),
    [
        ("/system", (401, {}), "archive", Level.ERROR),
        ("/system", (404, {}), "archive", Level.ERROR),
        ("/system", (200, "<html>"), "archive", Level.ERROR),
        ("/system", (200, {"Version": "1.5.6"}), "archive", Level.ERROR),
        ("/system", (200, {"Version": "1.12.6", "StableAge": 600}), "stable-age", Level.WARNING),
        ("/tools/now", (200, "20200101T000000"), "clock", Level.WARNING),
        ("/plugins", (200, ["python"]), "dicomweb", Level.WARNING),
        ("/plugins", (200, ["dicom-web"]), "python-plugin", Level.WARNING),
        ("/apprentice/status", (404, {}), "plugin", Level.WARNING),
        (
            "/apprentice/status",
            (200, {"learner": {"reachable": False, "problem": "refused"}}),
            "plugin",
            Level.WARNING,
        ),
        ("/api/status", (401, {}), "node", Level.WARNING),
        ("/api/status", (200, {"other": "service"}), "node", Level.ERROR),
        ("/api/status", (200, NODE | {"node": NODE["node"] | {"trainer_alive": False}}), "trainer", Level.ERROR),  # type: ignore[operator]
        ("/api/status", (200, NODE | {"node": NODE["node"] | {"archive_error": "down"}}), "node", Level.ERROR),  # type: ignore[operator]
        ("/api/status", (200, NODE | {"node": NODE["node"] | {"store_error": "full"}}), "node", Level.ERROR),  # type: ignore[operator]
        ("/api/status", (200, NODE | {"node": NODE["node"] | {"learning_waits": "full"}}), "trainer", Level.WARNING),  # type: ignore[operator]
    ],
)
def test_each_fault_of_the_site_is_found(
    site: Path, answers: Answers, path: str, answer: tuple[int, object], check: str, level: Level
) -> None:
    answers.by_path[path] = answer
    found = levels(site)
    assert found.pop(check) is level
    assert set(found.values()) == {Level.OK}


def test_an_archive_and_a_node_that_are_down_are_found(configuration: Path) -> None:
    found = levels(configuration)
    assert (found["archive"], found["node"]) == (Level.ERROR, Level.ERROR)


def test_faults_of_settings_and_tasks_are_found(configuration: Path, tmp_path: Path) -> None:
    (tmp_path / "tasks" / "prostate.toml").write_text("title = 1\n", encoding="utf-8")
    assert levels(configuration)["tasks"] is Level.ERROR
    configuration.write_text("[odd]\n", encoding="utf-8")
    assert levels(configuration) == {"settings": Level.ERROR}


def test_a_node_without_any_task_is_found(configuration: Path, tmp_path: Path) -> None:
    for task in (tmp_path / "tasks").iterdir():
        task.unlink()
    assert levels(configuration)["tasks"] is Level.ERROR
    configuration.write_text(configuration.read_text(encoding="utf-8") + "[tasks]\nfrom_annotations = true\n", encoding="utf-8")
    assert levels(configuration)["tasks"] is Level.OK


def test_a_token_that_others_may_read_is_found(site: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret-of-this-node\n", encoding="utf-8")
    site.write_text(site.read_text(encoding="utf-8") + 'token_file = "token"\n', encoding="utf-8")
    for mode, level in ((0o600, Level.OK), (0o640, Level.WARNING), (0o604, Level.WARNING)):
        token.chmod(mode)
        assert levels(site)["secrets"] is level
    assert "secret-of-this-node" not in "".join(finding.what + finding.remedy for finding in examine(site))
    token.write_text("", encoding="utf-8")
    assert levels(site)["secrets"] is Level.ERROR


def test_a_full_disk_is_found(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for gib, level in ((1, Level.ERROR), (5, Level.WARNING), (50, Level.OK)):
        usage = type("Usage", (), {"free": gib * 2**30})
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda _path, usage=usage: usage)
        assert levels(site)["disk"] is level


def test_jobs_that_were_given_up_are_found(site: Path, store: LocalStore) -> None:
    (finding,) = [one for one in examine(site) if one.name == "jobs"]
    assert finding.level is Level.WARNING
    assert "its example does not have its hash" in finding.what
    assert "apprentice retry 1" in finding.remedy


def test_the_command_prints_remedies_and_ends_with_2_for_an_error(run: Run, configuration: Path, tmp_path: Path) -> None:
    code, out, _ = run("doctor", "-c", configuration)
    assert code == 2
    assert "Start Orthanc, or correct pacs.url." in out
    assert not (tmp_path / "data").exists()


def test_the_command_ends_with_1_for_warnings(run: Run, site: Path, answers: Answers) -> None:
    answers.by_path["/plugins"] = (200, ["python"])
    code, out, _ = run("doctor", "-c", site, "--json")
    report = json.loads(out)
    assert (code, report["level"]) == (1, "warning")
    assert {finding["level"] for finding in report["findings"]} == {"ok", "warning"}


def test_the_command_ends_with_0_where_all_is_well_and_runs_what_it_is_asked_for(run: Run, site: Path) -> None:
    code, out, _ = run("doctor", "-c", site, "--json", "--only", "archive", "--only", "matching")
    assert code == 0
    assert {finding["name"] for finding in json.loads(out)["findings"]} == {"archive", "matching"}


def test_a_quick_look_leaves_out_what_takes_long(run: Run, site: Path) -> None:
    names = {finding["name"] for finding in json.loads(run("doctor", "-c", site, "--json", "--quick")[1])["findings"]}
    assert "archive" in names
    assert not names & {"hardware", "matching", "round-trip"}


def test_the_checks_are_listed(run: Run) -> None:
    _, out, _ = run("doctor", "--list", "--json")
    names = [check["name"] for check in json.loads(out)]
    assert len(names) == len(set(names)) > 25


def test_an_unknown_check_is_named(site: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no check 'x'"):
        list(examine(site, only=["x"]))
