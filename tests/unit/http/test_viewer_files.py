"""OHIF's files are served as they are, its page moved below its own path, and nothing beside its folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from learner.http.viewer import HEADERS, viewer_app, viewer_paths
from learner.settings import PacsSettings, ViewerSettings

PAGE = """<html><head><link href="/app.css"><script>window.PUBLIC_URL = '/';</script>
<script src="/app.0123456789abcdef01.js"></script><a href="//elsewhere"></a></head></html>"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    built = tmp_path / "dist"
    (built / "assets").mkdir(parents=True)
    (built / "index.html").write_text(PAGE)
    (built / "app-config.js").write_text("window.config = 'the one that was built in'")
    (built / "app.0123456789abcdef01.js").write_text("code")
    (built / "assets" / "logo.svg").write_text("<svg/>")
    (tmp_path / "secret.txt").write_text("secret")
    return built


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    with TestClient(viewer_app(ViewerSettings(folder=folder), PacsSettings(url="http://127.0.0.1:9"))) as client:
        yield client


@pytest.mark.parametrize("path", ["/ohif", "/ohif/", "/ohif/viewer", "/ohif/segmentation", "/ohif/index.html"])
def test_every_address_of_the_application_is_its_page_moved_below_its_path(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert 'href="/ohif/app.css"' in answer.text
    assert 'src="/ohif/app.0123456789abcdef01.js"' in answer.text
    assert "window.PUBLIC_URL = '/ohif/'" in answer.text
    assert 'href="//elsewhere"' in answer.text


def test_files_are_found_below_the_path_and_at_the_root_where_built_code_asks_for_them(client: TestClient) -> None:
    for path in ("/ohif/app.0123456789abcdef01.js", "/app.0123456789abcdef01.js"):
        answer = client.get(path)
        assert (answer.status_code, answer.text) == (200, "code")
        assert "immutable" in answer.headers["cache-control"]
    assert client.get("/assets/logo.svg").headers["cache-control"] == "no-cache"


def test_the_configuration_is_the_nodes(client: TestClient) -> None:
    answer = client.get("/ohif/app-config.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "routerBasename: '/ohif'" in answer.text
    assert "://" not in "".join(line for line in answer.text.splitlines() if not line.strip().startswith("//"))


@pytest.mark.parametrize("path", ["/ohif/../secret.txt", "/ohif/%2e%2e/secret.txt", "/ohif/..%2fsecret.txt", "/ohif/none.js"])
def test_nothing_beside_the_folder_is_served(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, "secret" in answer.text.replace("secret.txt", "")) == (404, False)


def test_the_policy_lets_a_browser_ask_this_origin_alone(client: TestClient) -> None:
    for path in ("/ohif/", "/ohif/none.js", "/app.0123456789abcdef01.js"):
        headers = client.get(path).headers
        assert {name: headers[name] for name in HEADERS} == HEADERS
    assert "http" not in HEADERS["Content-Security-Policy"]
    assert "*" not in HEADERS["Content-Security-Policy"]


def test_paths_of_the_viewer_are_its_own_and_those_of_its_files(folder: Path) -> None:
    paths = viewer_paths(folder)
    assert set(paths) == {"/ohif", "/dicom-web", "/wado", "/assets", "/app.0123456789abcdef01.js"}


def test_an_archive_that_is_away_is_said_so(client: TestClient) -> None:
    answer = client.get("/dicom-web/studies")
    assert answer.status_code == 502
    assert answer.json()["remedy"] == "Look at `apprentice doctor`."
