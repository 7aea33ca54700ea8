"""The containers' files: Compose's own program and a linter take them, they name what exists, and nothing is left open."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from learner.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
IMAGES = ("learner", "orthanc", "orthanc-debian")
_BIN = Path(sys.executable).parent
_PROFILES = ("tls", "monitoring")
_REACHABLE = "proxy"
"""The one service whose port others than this machine may reach."""


def composed(*arguments: str, **environment: str) -> dict[str, Any]:
    """What Compose makes of its files, with the defaults of all variables but those that are given."""
    command = [str(_BIN / "docker-compose"), "-f", str(DOCKER / "compose.yaml"), *arguments, "config", "--format", "json"]
    clean = {"PATH": os.defpath, "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean | environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def everything() -> dict[str, Any]:
    return composed(*(f"--profile={name}" for name in _PROFILES))


def test_without_a_profile_there_is_the_archive_and_the_learner(everything: dict[str, Any]) -> None:
    assert set(composed()["services"]) == {"orthanc", "learner"}
    assert set(everything["services"]) == {"orthanc", "learner", "proxy", "prometheus", "grafana"}


def test_every_service_is_locked_down_and_looked_after(everything: dict[str, Any]) -> None:
    for name, service in everything["services"].items():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service
        assert re.fullmatch(r"[1-9]\d*:\d+", service["user"]), f"{name} would run as root"
        assert service["healthcheck"]["test"], f"nothing says whether {name} is well"
        assert service["restart"] == "unless-stopped"
        for port in service["ports"]:
            assert name == _REACHABLE or port["host_ip"] == "127.0.0.1", f"{name} can be reached from elsewhere"


def test_everything_is_pinned(everything: dict[str, Any]) -> None:
    for service in everything["services"].values():
        assert re.search(r":v?\d+\.\d+\.\d+(-[\w.]+)?$", service["image"])
    for image in IMAGES:
        bases = re.findall(r"^FROM (\S+)", (DOCKER / f"Dockerfile.{image}").read_text("utf-8"), re.MULTILINE)
        assert bases
        assert all(re.search(r":\d+\.\d+(\.\d+)?(-[\w.-]+)?$", base) for base in bases)


def test_what_is_mounted_and_built_exists(everything: dict[str, Any]) -> None:
    for service in everything["services"].values():
        for volume in service["volumes"]:
            assert volume["type"] == "volume" or Path(volume["source"]).exists(), volume["source"]
        if "build" in service:
            assert Path(service["build"]["context"]) == ROOT
            assert (ROOT / service["build"]["dockerfile"]).is_file()


def test_the_other_orthanc_and_the_gpu_are_chosen_by_name() -> None:
    chosen = composed("-f", str(DOCKER / "cuda.yaml"), ORTHANC_IMAGE="orthanc-debian", TORCH="cuda")["services"]
    assert chosen["orthanc"]["build"]["dockerfile"] == "docker/Dockerfile.orthanc-debian"
    assert chosen["learner"]["build"]["args"]["TORCH"] == "cuda"
    (device,) = chosen["learner"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_secrets_are_made_once_and_not_committed(tmp_path: Path, everything: dict[str, Any]) -> None:
    script = tmp_path / "make-secrets.sh"
    script.write_bytes((DOCKER / "make-secrets.sh").read_bytes())
    subprocess.run(["sh", script], check=True, capture_output=True)
    made = {path.name: path.read_bytes() for path in (tmp_path / "secrets").iterdir()}
    assert set(made) == {Path(secret["file"]).name for secret in everything["secrets"].values()}
    assert len(set(made.values())) == len(made)
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    subprocess.run(["sh", script], check=True, capture_output=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "secrets").iterdir()} == made
    assert "secrets/" in (DOCKER / ".gitignore").read_text("utf-8").splitlines()


@pytest.mark.parametrize("name", IMAGES)
def test_a_linter_takes_the_dockerfiles(name: str) -> None:
    done = subprocess.run([_BIN / "hadolint", DOCKER / f"Dockerfile.{name}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", IMAGES)
def test_dockerfiles_copy_what_exists_and_is_let_in(name: str) -> None:
    text = (DOCKER / f"Dockerfile.{name}").read_text("utf-8")
    ignored = (DOCKER / f"Dockerfile.{name}.dockerignore").read_text("utf-8").splitlines()
    let_in = [line[1:] for line in ignored if line[0] == "!"]
    lines = [line for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE) if "--from=" not in line]
    copied = [word for line in lines for word in line.split()[:-1] if word[0] != "-"]
    assert copied
    assert [path for path in copied if not (ROOT / path).exists() or path not in let_in] == []
    assert set(let_in) == set(copied), "something is let in that nothing copies"


@pytest.mark.parametrize("name", IMAGES)
def test_the_user_of_an_image_is_that_of_compose(name: str, everything: dict[str, Any]) -> None:
    users = re.findall(r"^USER (\S+)$", (DOCKER / f"Dockerfile.{name}").read_text("utf-8"), re.MULTILINE)
    assert users == [everything["services"][name.partition("-")[0]]["user"]]


def test_settings_of_the_containers_agree(everything: dict[str, Any]) -> None:
    settings = load_settings(DOCKER / "apprentice.toml")
    orthanc = json.loads((DOCKER / "orthanc.json").read_text("utf-8"))
    assert settings.pacs.url == f"http://orthanc:{orthanc['HttpPort']}"
    assert orthanc["Apprentice"]["LearnerUrl"] == f"http://learner:{settings.api.port}"
    assert orthanc["Apprentice"]["TokenFile"] == str(settings.api.token_file)
    assert "RegisteredUsers" not in orthanc, "start-orthanc.sh writes them"
    proxy = everything["services"]["proxy"]["networks"]["default"]["ipv4_address"]
    assert settings.access.trusted_proxies == (proxy,)
    learner = (DOCKER / "Dockerfile.learner").read_text("utf-8")
    assert f" {settings.viewer.folder}\n" in learner
    assert f" {settings.viewer.configuration}\n" in learner
