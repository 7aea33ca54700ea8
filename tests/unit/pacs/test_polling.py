"""A log made of questions: what is new, changed, stable or gone, and how little is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from dicom_io.errors import NotInPacs
from dicom_io.pacs.polling import IMAGE, SERIES, STUDY, PolledFeed, uids_of


class Site:
    """An archive that answers questions, and counts them."""

    def __init__(self) -> None:
        self.series: dict[tuple[str, str], list[str]] = {}
        self.tells_numbers = True
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.now = 0.0

    def feed(self, days: int = 0) -> PolledFeed:
        return PolledFeed(self.find, stable_age=10, days=days, clock=lambda: self.now)

    def put(self, study: str, series: str, *instances: str) -> None:
        self.series.setdefault((study, series), []).extend(instances)

    def find(self, level: str, keys: Mapping[str, str], asked: Sequence[str]) -> list[Mapping[str, str]]:
        self.asked.append((level, keys))
        held = {
            (study, series): instances
            for (study, series), instances in self.series.items()
            if keys.get("StudyInstanceUID", study) == study and keys.get("SeriesInstanceUID", series) == series
        }
        if level == STUDY:
            return [self._study(study) for study in sorted({study for study, _ in held})]
        if level == SERIES:
            return [self._series(study, series, len(instances)) for (study, series), instances in held.items()]
        return [
            {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": uid}
            for (study, series), instances in held.items()
            for uid in instances
            if keys.get("SOPInstanceUID", uid) == uid
        ]

    def _study(self, uid: str) -> Mapping[str, str]:
        held = [instances for (study, _), instances in self.series.items() if study == uid]
        numbers = (len(held), sum(map(len, held)))
        told = dict(zip(("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"), map(str, numbers), strict=True))
        return {"StudyInstanceUID": uid, **(told if self.tells_numbers else {})}

    def _series(self, study: str, uid: str, count: int) -> Mapping[str, str]:
        told = {"NumberOfSeriesRelatedInstances": str(count)} if self.tells_numbers else {}
        return {"StudyInstanceUID": study, "SeriesInstanceUID": uid, "Modality": "MR", **told}


@pytest.fixture
def site() -> Site:
    made = Site()
    made.put("1", "1.1", "1.1.1", "1.1.2")
    made.put("2", "2.1", "2.1.1")
    return made


def told(feed: PolledFeed, cursor: int) -> dict[str, tuple[int, bool]]:
    return {one.series_instance_uid: (len(one.instance_ids), one.is_stable) for one in feed.page(cursor).touched}


@pytest.mark.parametrize("tells_numbers", [True, False])
def test_a_change_is_told_once_and_stability_once(site: Site, tells_numbers: bool) -> None:
    site.tells_numbers = tells_numbers
    feed = site.feed()
    assert told(feed, 0) == {"1.1": (2, False), "2.1": (1, False)}
    cursor = feed.page(0).cursor
    site.now = 9
    site.put("1", "1.1", "1.1.3")
    assert told(feed, cursor) == {"1.1": (3, False)}
    cursor = feed.page(cursor).cursor
    site.now = 11
    assert told(feed, cursor) == {"2.1": (1, True)}, "the other one changed 2 s ago"
    cursor = feed.page(cursor).cursor
    site.now = 30
    assert told(feed, cursor) == {"1.1": (3, True)}
    assert told(feed, feed.page(cursor).cursor) == {}


def test_nothing_but_the_studies_is_asked_while_nothing_changes(site: Site) -> None:
    feed = site.feed()
    cursor = feed.page(0).cursor
    site.asked.clear()
    feed.page(cursor)
    assert site.asked == [(STUDY, {})]
    site.put("2", "2.1", "2.1.2")
    site.asked.clear()
    feed.page(cursor)
    assert [level for level, _ in site.asked] == [STUDY, SERIES, IMAGE]


def test_a_drawing_replaced_by_another_is_found_by_the_scan(site: Site) -> None:
    feed = site.feed()
    cursor = feed.page(0).cursor
    site.series["2", "2.1"] = ["2.1.9"]
    assert told(feed, cursor) == {}, "the numbers are the same"
    assert [one.instance_ids for one in feed.scan() if one.series_instance_uid == "2.1"] == [("2/2.1/2.1.9",)]
    assert told(feed, cursor) == {"2.1": (1, False)}


def test_what_is_gone_is_forgotten(site: Site) -> None:
    feed = site.feed()
    feed.page(0)
    del site.series["2", "2.1"]
    assert told(feed, 0) == {"1.1": (2, False)}
    with pytest.raises(NotInPacs):
        feed.find_series("2.1")
    assert feed.series_of("2.1.1") == ()


def test_another_process_tells_all_once_more_beyond_the_kept_cursor(site: Site) -> None:
    first = site.feed()
    cursor = first.page(0).cursor + 1000
    again = site.feed()
    page = again.page(cursor)
    assert len(page.touched) == 2
    assert page.cursor > cursor
    assert again.page(page.cursor).touched == ()


def test_the_rest_of_a_long_page_is_not_asked_for_again(site: Site) -> None:
    feed = site.feed()
    first = feed.page(0, limit=1)
    assert not first.done
    site.asked.clear()
    second = feed.page(first.cursor, limit=1)
    assert second.done
    assert site.asked == []
    assert {one.series_instance_uid for one in (*first.touched, *second.touched)} == {"1.1", "2.1"}


def test_the_window_is_open_at_its_end(site: Site) -> None:
    site.feed(days=30).page(0)
    first = datetime.now(UTC).date() - timedelta(days=30)
    assert site.asked[0] == (STUDY, {"StudyDate": f"{first:%Y%m%d}-"})


def test_the_hierarchy_is_kept_where_the_study_is_known(site: Site) -> None:
    feed = site.feed()
    feed.page(0)
    site.asked.clear()
    feed.find_series("1.1")
    assert all("StudyInstanceUID" in keys for _, keys in site.asked)


@pytest.mark.parametrize("name", ["", "1/2", "1/2/3/4", "../1/2", "1/2/x", "1//3", "1/2/" + "1" * 65])
def test_an_identifier_that_is_none_is_not_found(name: str) -> None:
    with pytest.raises(NotInPacs):
        uids_of(name)
