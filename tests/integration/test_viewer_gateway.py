"""What a viewer in a browser asks, through the node, of a real Orthanc: QIDO-RS, WADO-RS, STOW-RS, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from orthanc_fixtures import PASSWORD, USER
from pydicom import dcmread
from slices import make_slices, uids
from starlette.testclient import TestClient

from learner.demo.orthanc import LocalOrthanc
from learner.http.viewer import viewer_app
from learner.settings import PacsSettings, ViewerSettings

pytestmark = pytest.mark.orthanc
_BOUNDARY = "b0undary"


@pytest.fixture
def client(orthanc: LocalOrthanc, tmp_path: Path) -> Iterator[TestClient]:
    (tmp_path / "index.html").write_text("page")
    secret = tmp_path / "password"
    secret.write_text(PASSWORD)
    pacs = PacsSettings(url=orthanc.url, user=USER, password_file=secret)
    with TestClient(viewer_app(ViewerSettings(folder=tmp_path, largest_upload_mb=1), pacs)) as client:
        yield client


def stow(client: TestClient, path: str, *files: bytes) -> int:
    parts = b"".join(b"--%s\r\nContent-Type: application/dicom\r\n\r\n%s\r\n" % (_BOUNDARY.encode(), file) for file in files)
    kind = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
    body = parts + b"--%s--\r\n" % _BOUNDARY.encode()
    return client.post(path, content=body, headers={"Content-Type": kind, "Accept": "application/dicom+json"}).status_code


def test_what_is_stored_is_found_and_read_again(client: TestClient) -> None:
    files = make_slices(3)
    study = str(dcmread(BytesIO(files[0])).StudyInstanceUID)
    assert stow(client, f"/dicom-web/studies/{study}", *files) == 200
    found = client.get(f"/dicom-web/studies/{study}/instances", headers={"Accept": "application/dicom+json"})
    assert {one["00080018"]["Value"][0] for one in found.json()} == {uids(file)[0] for file in files}
    retrieve = found.json()[0]["00081190"]["Value"][0]
    assert retrieve.startswith("http://testserver/dicom-web/")
    series = uids(files[0])[1]
    got = client.get(
        f"/dicom-web/studies/{study}/series/{series}", headers={"Accept": 'multipart/related; type="application/dicom"'}
    )
    assert (got.status_code, got.content.count(b"DICM")) == (200, 3)
    sop = uids(files[1])[0]
    one = client.get("/wado", params={"requestType": "WADO", "studyUID": study, "seriesUID": series, "objectUID": sop})
    assert one.status_code == 200


def test_a_query_is_passed_on_as_it_is(client: TestClient) -> None:
    (file,) = make_slices(1)
    patient = str(dcmread(BytesIO(file)).PatientID)
    assert stow(client, "/dicom-web/studies", file) == 200
    found = client.get("/dicom-web/studies", params={"PatientID": patient, "limit": "1"})
    assert len(found.json()) == 1
    assert client.get("/dicom-web/studies", params={"PatientID": f"{patient}x"}).json() == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/dicom-web/servers", 405),
        ("POST", "/dicom-web/studies/1.2/series", 405),
        ("DELETE", "/dicom-web/studies/1.2", 405),
        ("PUT", "/dicom-web/studies", 405),
        ("GET", "/dicom-web/studies/../../system", 404),
        ("GET", "/dicom-web/%2e%2e/system", 404),
        ("POST", "/wado", 405),
        ("GET", "/dicom-web/studies/1.2.3/metadata", 404),
    ],
)
def test_nothing_but_reading_and_storing_reaches_the_archive(client: TestClient, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert "DatabaseVersion" not in answer.text


def test_more_than_the_limit_is_not_stored(client: TestClient) -> None:
    files = make_slices(1, size=1024)
    study = str(dcmread(BytesIO(files[0])).StudyInstanceUID)
    assert stow(client, "/dicom-web/studies", *files) == 413
    assert client.get("/dicom-web/studies", params={"StudyInstanceUID": study}).json() == []
