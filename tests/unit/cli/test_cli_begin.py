"""``apprentice init``, ``new-task`` and ``status``."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from learner.cli import app
from learner.errors import ConfigurationError
from learner.settings import load_settings, read_secret
from learner.task_files import load_tasks
from orthanc_plugin.options import read_options

Run = Callable[..., tuple[int, str, str]]


def test_init_writes_what_the_node_and_orthanc_understand(tmp_path: Path) -> None:
    site = tmp_path / "site"
    asked = ["init", str(site), "--url", "http://pacs:8042", "--user", "node", "--token"]
    result = CliRunner().invoke(app, asked, input="hush\n")
    assert result.exit_code == 0, result.output
    assert "hush" not in result.output
    settings = load_settings(site / "apprentice.toml")
    assert (settings.pacs.url, settings.pacs.user) == ("http://pacs:8042", "node")
    assert read_secret(settings.pacs.password_file) == "hush"
    assert len(read_secret(settings.api.token_file)) > 30
    for name in ("orthanc-password", "token"):
        assert stat.S_IMODE((site / name).stat().st_mode) == 0o600
    assert [task.task_id for task in load_tasks(settings.tasks.folder)] == ["example"]
    orthanc = (site / "orthanc-plugin.json").read_text(encoding="utf-8")
    assert read_options(orthanc, {}).TokenFile == str(site / "token")
    assert Path(json.loads(orthanc)["PythonScript"]).is_file()


def test_every_commented_key_of_init_is_a_default(run: Run, tmp_path: Path) -> None:
    assert run("init", tmp_path)[0] == 0
    text = (tmp_path / "apprentice.toml").read_text(encoding="utf-8")
    lines = [line.removeprefix("# ") for line in text.splitlines() if not line.startswith("# ") or " = " in line.split("(")[0]]
    kept = [line for line in lines if line.startswith("[") or line.partition(" = ")[0].isidentifier()]
    (tmp_path / "all.toml").write_text("\n".join(line for line in kept if not line.endswith('= ""')), encoding="utf-8")
    assert load_settings(tmp_path / "all.toml") == load_settings(tmp_path / "apprentice.toml")


def test_init_touches_nothing_that_is_there(run: Run, tmp_path: Path) -> None:
    (tmp_path / "apprentice.toml").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="is there already"):
        run("init", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["apprentice.toml"]


def test_new_task_writes_a_task_that_loads(run: Run, configuration: Path, tmp_path: Path) -> None:
    code, out, _ = run(
        "new-task",
        "zones",
        "-c",
        configuration,
        "--modality",
        "CT",
        "--series",
        "portal",
        "--label",
        "Liver=10200004",
        "--label",
        "A b",
    )
    assert code == 0
    assert "zones.toml" in out
    (task,) = [one for one in load_tasks(tmp_path / "tasks") if one.task_id == "zones"]
    assert [(label.name, label.type.value, label.type.scheme) for label in task.labels] == [
        ("Liver", "10200004", "SCT"),
        ("A b", "A_B", "99LOCAL"),
    ]
    assert (task.match.modalities, task.match.series_description) == (("CT",), "portal")
    for name in ("zones", "No Name"):
        with pytest.raises(ConfigurationError, match=r"another name|no name of a task"):
            run("new-task", name, "-c", configuration)


def test_a_new_task_that_cannot_be_loaded_is_not_left_behind(run: Run, configuration: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no regular expression"):
        run("new-task", "broken", "-c", configuration, "--series", "(")
    assert not (tmp_path / "tasks" / "broken.toml").exists()


def test_status_says_that_no_node_answers(run: Run, configuration: Path) -> None:
    code, out, err = run("status", "-c", configuration)
    assert (code, out) == (1, "")
    assert "`apprentice serve` starts it" in err
