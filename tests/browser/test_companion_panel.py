"""The companion panel in OHIF, in a real browser on a real Orthanc: from a drawing to its answer, and what a reader says."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from browser_harness import Browsing
from node_harness import RunningNode, now, phantom, reader, running_node, wait_for
from ohif_harness import Ohif
from playwright.sync_api import Page, Route, expect

from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from dicom_io.results import SegmentDescription
from dicom_io.volume import ImageSeries
from learner.demo.orthanc import LocalOrthanc
from learner.demo.reader import Reader

pytestmark = [pytest.mark.browser, pytest.mark.orthanc, pytest.mark.slow]
expect.set_options(timeout=60_000)
_OHIF = sorted(Path(__file__).resolve().parents[2].glob(".cache/ohif-*/index.html"))
_STROKE = """() => {
  const canvas = document.querySelector("canvas.cornerstone-canvas");
  canvas.dispatchEvent(new PointerEvent("pointerdown", { bubbles: true }));
  const name = window.cornerstoneTools.Enums.Events.SEGMENTATION_DATA_MODIFIED;
  window.cornerstone.eventTarget.dispatchEvent(new CustomEvent(name, { detail: { segmentationId: "none" } }));
}"""
_SHOWS = "uid => window.cornerstone?.getEnabledElements?.()[0]?.viewport.getCurrentImageId?.()?.includes(uid)"
_PICTURES = os.environ.get("APPRENTICE_PICTURES", "")


@pytest.fixture
def node(tmp_path: Path, make_orthanc: Callable[..., LocalOrthanc]) -> Iterator[RunningNode]:
    if not _OHIF:
        pytest.skip("OHIF absent: ./run viewer")
    with running_node(tmp_path / "node", make_orthanc, pacs=f'[viewer]\nfolder = "{_OHIF[-1].parent}"') as started:
        yield started


@pytest.fixture
def study(node: RunningNode) -> tuple[ImageSeries, np.ndarray]:
    files, truth_DHW = phantom(slices=16, size=128)
    return node.send(files), truth_DHW


def opened(browser: Browsing, node: RunningNode, images: ImageSeries, mode: str = "viewer") -> Page:
    """The study in OHIF, its first image drawn."""
    browser.local_storage(shownTours=["basicViewerTour"])
    page = browser.page()
    page.goto(f"{node.url}/ohif/{mode}?StudyInstanceUIDs={images.volume.series.study_instance_uid}")
    drawn(page)
    page.get_by_role("button", name="Confirm and hide").click()
    return page


def drawn(page: Page) -> None:
    page.wait_for_function("window.cornerstone?.getEnabledElements?.()[0]?.viewport.getCurrentImageId?.()")


def shown_image(page: Page) -> str:
    return str(page.evaluate("window.cornerstone.getEnabledElements()[0].viewport.getCurrentImageId()"))


def picture(page: Page, name: str) -> None:
    if _PICTURES:
        page.screenshot(path=Path(_PICTURES) / f"{name}.png")


def test_the_loop_from_the_panel(browser: Browsing, node: RunningNode, study: tuple[ImageSeries, np.ndarray]) -> None:
    images, truth_DHW = study
    page = opened(browser, node, images)
    panel = page.get_by_role("complementary", name="PACS Apprentice")
    expect(panel).to_contain_text("Nothing drawn yet")
    picture(page, "undrawn")

    drawing = reader(images, truth_DHW).draw([4, 8, 12], now())
    node.archive.store(drawing)
    expect(panel).to_contain_text("The answer is there")
    first = node.answered(drawing)
    expect(panel).to_contain_text("3 of 16 drawn")
    expect(panel.get_by_role("row", name="Prostate")).to_contain_text(f"{first.facts['volumes_ml']['Prostate']:.1f}")
    picture(page, "answered")

    answer_DHW = node.store.files.get_record(first.round_id).labels_DHW
    wanted = next(one for one in first.facts["guidance"] if answer_DHW[one["index"]].any())  # the picture is to show it
    assert wanted["sop_instance_uid"] not in shown_image(page)
    panel.get_by_role("button", name=f"Go to Slice {wanted['index'] + 1}:").click()
    page.wait_for_function(_SHOWS, arg=wanted["sop_instance_uid"])

    (prediction,) = (r for r in node.store.records.results_of(first.round_id) if r.kind == "prediction")
    panel.get_by_role("button", name="Show the answer").click()
    page.wait_for_url(re.compile(f"initialSeriesInstanceUID={re.escape(prediction.series_instance_uid)}"))
    expect(panel).to_contain_text("The answer is shown.")
    drawn(page)
    page.wait_for_function(_SHOWS, arg=wanted["sop_instance_uid"])  # where the reader was, not at the first slice
    Ohif(page, node.url).settled_pixels()
    picture(page, "shown")

    panel.get_by_role("button", name=f"Slice {wanted['index'] + 1} is right as it is shown").click()
    panel.get_by_role("button", name="Accept 1 slice").click()
    expect(panel).to_contain_text("3 of 16 drawn, 1 accepted")
    second = node.rounds()[-1]
    assert [p[1] for p in second.facts["planes"] if p[2] == "confirmed"] == [wanted["index"]]

    panel.get_by_role("button", name="Withdraw my last acceptance").click()
    panel.get_by_role("button", name="Withdraw", exact=True).click()
    expect(panel).to_contain_text(re.compile(r"3 of 16 drawn ·"))
    panel.get_by_role("button", name="Accept whole answer").click()
    picture(page, "asked")
    panel.get_by_role("button", name="Accept all").click()
    expect(panel).to_contain_text("Every slice is drawn or accepted.")
    assert node.rounds()[-1].facts["drawn_slices"] == [4, 8, 12]
    picture(page, "accepted")
    assert browser.errors == []
    assert browser.outside == []


def test_what_was_not_understood_is_told_and_keys_are_enough(
    browser: Browsing, node: RunningNode, study: tuple[ImageSeries, np.ndarray]
) -> None:
    images, truth_DHW = study
    other = (SegmentDescription(1, "Bladder", ANATOMICAL_STRUCTURE, Code("89837001", "SCT", "Bladder"), (1, 2, 3)),)
    node.archive.store(Reader(images, truth_DHW, other).draw([8], now()))
    page = opened(browser, node, images, "segmentation")
    panel = page.get_by_role("complementary", name="PACS Apprentice")
    expect(panel).to_contain_text("Not understood.")
    expect(panel).to_contain_text("Name or code the segment as one of these labels (prostate: Prostate)")
    picture(page, "refused")

    drawing = reader(images, truth_DHW).draw([4, 8, 12], now())
    node.archive.store(drawing)
    expect(panel).to_contain_text("The answer is there")
    expect(panel).not_to_contain_text("Not understood.")
    wanted = node.answered(drawing).facts["guidance"][0]
    panel.get_by_role("button", name=f"Go to Slice {wanted['index'] + 1}:").press("Enter")
    page.wait_for_function(
        "uid => window.cornerstone.getEnabledElements().some(({ viewport }) => viewport.getCurrentImageId?.()?.includes(uid))",
        arg=wanted["sop_instance_uid"],
    )

    panel.get_by_role("button", name="Apprentice").press("Escape")
    expect(panel.get_by_role("row")).to_have_count(0)
    page.reload()
    expect(panel.get_by_role("button", expanded=False)).to_contain_text("The answer is there")
    picture(page, "closed")
    panel.get_by_role("button", expanded=False).press("Space")
    expect(panel.get_by_role("row", name="Prostate")).to_be_visible()
    assert browser.errors == []


def test_without_viewports_to_reach_a_slice_is_opened_by_its_address(
    browser: Browsing, node: RunningNode, study: tuple[ImageSeries, np.ndarray]
) -> None:
    images, truth_DHW = study
    drawing = reader(images, truth_DHW).draw([4, 8, 12], now())
    node.archive.store(drawing)
    wanted = node.answered(drawing).facts["guidance"][0]
    page = opened(browser, node, images)
    page.evaluate(_STROKE)
    page.evaluate("window.cornerstone = undefined")
    page.get_by_role("button", name=f"Go to Slice {wanted['index'] + 1}:").click()
    expect(page.get_by_text("What you drew and did not save is lost.")).to_be_visible()
    picture(page, "unsaved")
    page.get_by_role("button", name="Go", exact=True).click()
    page.wait_for_url(re.compile(f"initialSOPInstanceUID={re.escape(wanted['sop_instance_uid'])}"))
    drawn(page)
    assert wanted["sop_instance_uid"] in shown_image(page)
    ours = [error for error in browser.errors if "SEGMENTATION_DATA_MODIFIED" not in error]  # OHIF knows no such segmentation
    assert ours == []


def test_neither_the_image_nor_the_drawing_tools_are_covered(
    browser: Browsing, node: RunningNode, study: tuple[ImageSeries, np.ndarray]
) -> None:
    images, _ = study
    page = opened(browser, node, images, "segmentation")
    panel = page.get_by_role("complementary", name="PACS Apprentice")
    expect(panel).to_contain_text("Nothing drawn yet")
    covered, image = panel.bounding_box(), page.locator("canvas.cornerstone-canvas").first.bounding_box()
    assert covered is not None
    assert image is not None
    assert covered["x"] + covered["width"] <= image["x"]
    page.get_by_text("Add segmentation").click()
    page.locator('[data-cy="Brush-btn"]').click()
    page.locator('button:has(+ button[role="combobox"])').first.click()
    expect(page.get_by_role("menuitem", name="Download & Export")).to_be_visible()


def test_without_the_node_there_is_no_panel_and_the_viewer_is_as_ever(
    browser: Browsing, node: RunningNode, study: tuple[ImageSeries, np.ndarray]
) -> None:
    images, _ = study
    asked: list[str] = []

    def another_page(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=200, content_type="text/html", body="<html>some other page</html>")

    browser.context.route("**/api/companion/**", another_page)
    page = opened(browser, node, images)
    wait_for(lambda: page.evaluate("1") and asked, "the panel to ask")
    expect(page.locator("#apprentice-companion")).to_be_hidden()
    before = shown_image(page)
    page.mouse.move(760, 420)
    page.mouse.wheel(0, 300)
    page.wait_for_function("id => window.cornerstone.getEnabledElements()[0].viewport.getCurrentImageId() !== id", arg=before)
    assert browser.errors == []
