"""Settings: what is wrong is named, what is shipped is right, what is documented exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from learner import task_files as module
from learner.errors import ConfigurationError
from learner.settings import ScpSettings, Settings, load_settings, read_secret
from learner.settings_reference import reference
from learner.task_files import load_task, load_tasks

ROOT = Path(__file__).resolve().parents[2]
TASK = (ROOT / "config" / "tasks" / "prostate.toml").read_text(encoding="utf-8")


def written(folder: Path, text: str, name: str = "apprentice.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    loaded = load_settings(written(tmp_path, ""))
    assert loaded.pacs == Settings().pacs
    assert loaded.node.data == tmp_path / "var/apprentice"
    assert loaded.tasks.folder == tmp_path / "tasks"
    assert loaded.api.token_file is None


def test_relative_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    text = '[node]\ndata = "d"\n[pacs]\npassword_file = "p"\n[api]\ntoken_file = "/etc/t"\n'
    loaded = load_settings(written(tmp_path, text))
    assert (loaded.node.data, loaded.pacs.password_file, loaded.api.token_file) == (
        tmp_path / "d",
        tmp_path / "p",
        Path("/etc/t"),
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[pacs]\nurll = 1\n", "pacs.urll: unknown key, did you mean pacs.url?"),
        ("[scp]\nstore_by = 1\n", "scp.store_by: unknown key, did you mean pacs.store_by?"),
        ("[pacs]\nzzz = 1\n", "pacs.zzz: unknown key."),
        ("[packs]\n", "packs: unknown key"),
        ("[api]\nport = 0\n", "api.port"),
        ('[api]\nport = "http"\n', "api.port"),
        ('[api]\nhost = "0.0.0.0"\n', "api: an address beyond loopback needs tls_certificate"),
        ('[pacs]\nstore_by = "ftp"\n', "pacs.store_by"),
        ("[pacs]\npoll_s = 0\n", "pacs.poll_s"),
        ("[learning]\nkeep_checkpoints = 1\n", "learning.keep_checkpoints"),
        ('[api]\ntls_key = "k"\n', "api: tls_key and client_ca need tls_certificate"),
        ('[access]\nproxy_user_header = "X-User"\n', "access: proxy_user_header needs trusted_proxies"),
        ('[access]\nproxy_user_header = "X: User"\n', "access.proxy_user_header"),
        ('[access]\ntrusted_proxies = ["proxy.example"]\n', "access: 'proxy.example' does not appear to be"),
        ("[learning]\nsteps = 1\nsteps = 2\n", "is no TOML"),
        ("[learning\n", "is no TOML"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path: Path, text: str, named: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigurationError) as raised:
        load_settings(path)
    assert named in str(raised.value)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_several_faults_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"api\.port.*learning\.steps"):
        load_settings(written(tmp_path, "[api]\nport = 0\n[learning]\nsteps = 0\n"))


def test_a_missing_file_and_a_binary_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.toml cannot be read"):
        load_settings(tmp_path / "none.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"b\.toml is no TOML"):
        load_settings(tmp_path / "b.toml")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('title = "Zones of the prostate"', "", "title: Field required"),
        ('"#e6783c"', '"orange"', "labels.0.colour"),
        ('value = "279706003", ', "", "labels.0.type.value"),
        ('series_description = "t2', 'series_description = "(t2', "series_description is no regular expression"),
        ("min_slices = 10", "min_slices = 1", "match.min_slices"),
        ("min_slices = 10", "slices = 10", "match.slices: unknown key"),
        ('modalities = ["MR"]', "modalities = []", "match.modalities"),
    ],
)
def test_what_is_wrong_in_a_task_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert old in TASK
    with pytest.raises(ConfigurationError) as raised:
        load_task(written(tmp_path, TASK.replace(old, new), "prostate.toml"))
    assert named in str(raised.value)
    assert "prostate.toml" in str(raised.value)


def test_a_task_is_named_by_its_file(tmp_path: Path) -> None:
    assert load_task(written(tmp_path, TASK, "t2-zones.toml")).task_id == "t2-zones"
    with pytest.raises(ConfigurationError, match="rename the file"):
        load_task(written(tmp_path, TASK, "T2 zones.toml"))


def test_a_task_has_a_model_of_its_own_or_shares_one(tmp_path: Path) -> None:
    assert load_task(written(tmp_path, TASK, "zones.toml")).model_id == "zones"
    shared = TASK.replace("[match]", 'model = "pelvis"\n[match]')
    assert load_task(written(tmp_path, shared, "zones.toml")).model_id == "pelvis"
    with pytest.raises(ConfigurationError, match=r"model name '\.\./x'"):
        load_task(written(tmp_path, shared.replace("pelvis", "../x"), "zones.toml"))


MAPPED = 'colour = "#e6783c"\nnames = ["PZ"]\ncodes = [{ value = "T-62000", scheme = "SRT" }]'


def test_what_a_site_maps_to_a_label(tmp_path: Path) -> None:
    label = load_task(written(tmp_path, TASK.replace('colour = "#e6783c"', MAPPED), "prostate.toml")).labels[0]
    assert label.names == ("PZ",)
    assert [(code.value, code.scheme) for code in label.codes] == [("10200004", "SCT")], "retired codes become current ones"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("T-62000", "T-D0050", "stands for no label"),
        ('names = ["PZ"]', 'names = ["transition zone"]', "two labels share the name 'transition zone'"),
        ('scheme = "SRT" }]', 'scheme = "SRT", meaning = "Liver" }]', "meaning: unknown key"),
    ],
)
def test_what_is_wrong_in_a_mapping_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    text = TASK.replace('colour = "#e6783c"', MAPPED.replace(old, new))
    with pytest.raises(ConfigurationError, match=named):
        load_task(written(tmp_path, text, "prostate.toml"))


def test_a_missing_folder_of_tasks_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"tasks\.folder"):
        load_tasks(tmp_path / "none")


def test_secrets_are_read_or_named(tmp_path: Path) -> None:
    assert read_secret(None) == ""
    assert read_secret(written(tmp_path, "  hush\n", "token")) == "hush"
    with pytest.raises(ConfigurationError, match="is empty"):
        read_secret(written(tmp_path, "\n", "empty"))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_secret(tmp_path / "none")


def test_the_shipped_files_load() -> None:
    shipped = load_settings(ROOT / "config" / "apprentice.toml")
    tasks = load_tasks(shipped.tasks.folder)
    assert {task.task_id for task in tasks} == {"brain", "hippocampus", "prostate"}


def test_the_plugin_finds_the_shipped_node() -> None:
    port = load_settings(ROOT / "config" / "apprentice.toml").api.port
    assert port == Settings().api.port
    assert f'"LearnerUrl": "http://127.0.0.1:{port}"' in (ROOT / "config" / "orthanc.json").read_text(encoding="utf-8")


def test_commented_keys_of_the_shipped_file_exist(tmp_path: Path) -> None:
    text = (ROOT / "config" / "apprentice.toml").read_text(encoding="utf-8")
    uncommented = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    assert tomllib.loads(uncommented) != tomllib.loads(text)
    load_settings(written(tmp_path, uncommented))


def test_every_setting_is_in_the_reference_with_words() -> None:
    text = reference()
    for name, section in Settings.model_fields.items():
        part = text.partition(f"## `[{name}]`")[2].partition("\n## ")[0]
        rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", part, re.MULTILINE))
        assert section.annotation is not None
        assert set(rows) == set(section.annotation.model_fields)
        assert all(len(words) > 10 for words in rows.values())


def test_every_key_of_a_task_is_in_the_reference() -> None:
    part = reference().partition("## Task files")[2]
    found = set(re.findall(r"^\| `([\w.]+)` \|", part, re.MULTILINE))
    task, match, label = module._TaskFile.model_fields, module._MatchFile.model_fields, module._LabelFile.model_fields
    expected = {name for name in task if name not in {"match", "labels"}}
    assert found == expected | {f"match.{name}" for name in match} | {f"labels.{name}" for name in label}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[pacs]\nkind = "dimse"\n', "store_by"),
        ('[pacs]\nkind = "inbox"\nstore_by = "rest"\n', "store_by"),
        ('[scp]\nhost = "0.0.0.0"\n', "allowed_aets"),
        ("[scp]\ntls = true\n", "tls_certificate_file"),
        ('[scp]\ncommitment_peers = ["ROUTER"]\n', "AET@host:port"),
        ('[scp]\nallowed_aets = ["SEVENTEEN-LETTERS"]\n', "scp.allowed_aets.0"),
    ],
)
def test_transports_that_cannot_work_are_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(named)):
        load_settings(written(tmp_path, text))


def test_commitment_peers_are_addresses() -> None:
    peers = ("ROUTER@10.0.0.6:104", "CT@ct.example:11112")
    assert ScpSettings(commitment_peers=peers).commitment_addresses() == {
        "ROUTER": ("10.0.0.6", 104),
        "CT": ("ct.example", 11112),
    }


def test_a_credential_of_systemd_stands_for_the_file_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passed = tmp_path / "credentials"
    passed.mkdir()
    (passed / "orthanc-password").write_text("secret")
    settings = written(tmp_path, '[pacs]\npassword_file = "orthanc-password"\n[api]\ntoken_file = "/etc/token"\n')
    assert load_settings(settings).pacs.password_file == tmp_path / "orthanc-password"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(passed))
    read = load_settings(settings)
    assert read.pacs.password_file == passed / "orthanc-password"
    assert read.api.token_file == Path("/etc/token"), "no credential has its name"
