"""What Orthanc is asked while its log is read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dicom_io.pacs.orthanc_rest import OrthancArchive


@pytest.mark.parametrize(("instances", "expected"), [(3, ["s", "i0", "i1", "i2"]), (300, ["s"])])
def test_instances_that_pour_in_are_not_looked_up_one_by_one(
    monkeypatch: pytest.MonkeyPatch, instances: int, expected: list[str]
) -> None:
    changes = [{"ID": "s", "ResourceType": "Series"}, *({"ID": f"i{n}", "ResourceType": "Instance"} for n in range(instances))]
    asked: list[str] = []

    def statuses(_self: OrthancArchive, names: Sequence[str]) -> list[object]:
        asked.extend(names)
        return []

    monkeypatch.setattr(OrthancArchive, "_json", lambda *_args, **_named: {"Changes": changes, "Last": 400, "Done": True})
    monkeypatch.setattr(OrthancArchive, "_statuses", statuses)
    with OrthancArchive("http://127.0.0.1:9") as archive:
        page = archive.page(7)
    assert (asked, page.cursor, page.done) == (expected, 400, True)
