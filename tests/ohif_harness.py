"""OHIF as a reader uses it: opened in a real browser, drawn in with the mouse, saved by its own menu, looked at in pixels.

Mouse and keyboard do everything that a reader does. OHIF's global ``cornerstone`` is only asked: whether it has rendered, which
image it shows, and where a point of the patient lies on the canvas; tests check the last against the image itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page
from playwright.sync_api import TimeoutError as NothingCame

ROOT = Path(__file__).resolve().parent.parent
FloatArray = npt.NDArray[np.float64]
CANVAS = "canvas.cornerstone-canvas"
_LOST_MS = 10_000
_VIEWPORT = "const v = window.cornerstone?.getRenderingEngines()?.[0]?.getViewports()?.[0];"
_SHOWN = (
    f"(uid) => {{ {_VIEWPORT} return !!v && v.viewportStatus === 'rendered' && (v.getCurrentImageId() ?? '').includes(uid); }}"
)


@dataclass(eq=False)
class Ohif:
    """One tab with OHIF.

    Attributes:
        page: the tab.
        url: where the node serves it, without a path.
    """

    page: Page
    url: str

    def open(self, address: str, shown: str = "/instances/") -> None:
        """Opens an address of the viewer and waits until an image is rendered whose identifier has ``shown`` in it."""
        self.page.goto(f"{self.url}{address}")
        self.wait_for_image(shown)
        self.dismiss_notice()

    def segment(self, study: str, sop: str) -> None:
        """Opens a study in the mode that segments, at an image."""
        self.open(f"/ohif/segmentation?StudyInstanceUIDs={study}&hangingProtocolId=default&initialSopInstanceUID={sop}", sop)

    def wait_for_image(self, uid: str) -> None:
        """Waits until the image is rendered."""
        try:
            self.page.wait_for_function(_SHOWN, arg=uid)
        except NothingCame as none:
            state = self.page.evaluate(f"() => {{ {_VIEWPORT} return v && [v.viewportStatus, v.getCurrentImageId()]; }}")
            raise AssertionError(f"image {uid} is not shown; the first viewport: {state}") from none

    @property
    def shown(self) -> str:
        """SOP Instance UID of the image on display."""
        image = self.page.evaluate(f"() => {{ {_VIEWPORT} return v.getCurrentImageId(); }}")
        return str(image).split("/instances/")[1].split("/")[0]

    def scroll_to(self, sops: Sequence[str], sop: str) -> None:
        """Turns the mouse wheel over the image until ``sop`` is shown.

        Args:
            sops: all images of the series in the order in which they are stacked.
            sop: one of them.
        """
        x, y = self._middle()
        self.page.mouse.move(x, y)
        for _ in range(2 * len(sops)):
            here, there = sops.index(self.shown), sops.index(sop)
            if here == there:
                break
            step = 1 if there > here else -1
            # OHIF stacks the images from the feet or from the head on: the first turn tells which way is which
            self.page.mouse.wheel(0, 100 * step * self._direction(sops))
            with contextlib.suppress(NothingCame):  # a turn is lost where the viewer was busy: a reader turns again
                self.page.wait_for_function(f"(uid) => !({_SHOWN})(uid)", arg=sops[here], timeout=_LOST_MS)
        self.wait_for_image(sop)

    def _direction(self, sops: Sequence[str]) -> int:
        stacked = self.page.evaluate(f"() => {{ {_VIEWPORT} return v.getImageIds(); }}")
        return 1 if sops[0] in stacked[0] else -1

    def _middle(self) -> tuple[float, float]:
        box = self.canvas.bounding_box()
        assert box is not None
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    @property
    def canvas(self) -> Locator:
        """The canvas of the first viewport."""
        return self.page.locator(CANVAS).first

    def to_canvas(self, points_lps: FloatArray) -> FloatArray:
        """Points of the patient in mm, ``(n, 3)``, as pixels of the canvas, ``(n, 2)``: column, row."""
        script = f"(points) => {{ {_VIEWPORT} return points.map((point) => v.worldToCanvas(point)); }}"
        return np.array(self.page.evaluate(script, points_lps.tolist()), dtype=np.float64)

    def pixels(self) -> npt.NDArray[np.uint8]:
        """What the canvas shows, RGB ``(rows, columns, 3)``, as the compositor paints it."""
        shot = self.canvas.screenshot(animations="disabled")
        return np.asarray(Image.open(BytesIO(shot)).convert("RGB"))

    def settled_pixels(self) -> npt.NDArray[np.uint8]:
        """The same, once it has a segmentation in colour and no longer changes."""
        before = np.zeros(0)
        for _ in range(100):
            pixels = self.pixels()
            coloured = pixels[..., 0].astype(int) - pixels[..., 2] > 30
            if coloured.any() and pixels.shape == before.shape and np.array_equal(pixels, before):
                return pixels
            before = pixels
        raise AssertionError("no segmentation was painted, or the picture never came to rest")

    def add_segmentation(self) -> None:
        """A new, empty segmentation with one segment."""
        self.page.get_by_text("Add segmentation").click()
        self.page.get_by_text("Segment 1", exact=True).wait_for()

    def take(self, tool: str, radius_mm: float) -> None:
        """Chooses ``Brush`` or ``Eraser`` and its radius."""
        self.page.locator(f'[data-cy="{tool}-btn"]').click()
        field = self.page.locator(f'[data-cy="{tool.lower()}-radius"] input')
        field.fill(f"{radius_mm:g}")
        field.press("Enter")

    def stroke(self, points_lps: FloatArray) -> None:
        """One stroke with the left button down through points of the patient, ``(n, 3)``."""
        box = self.canvas.bounding_box()
        assert box is not None
        places = self.to_canvas(points_lps) + np.array([box["x"], box["y"]])
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for x, y in places:
            self.page.mouse.move(x, y)
        self.page.mouse.up()

    def save(self) -> bytes:
        """Saves the segmentation in the panel to the archive by its menu, and waits until the archive has it.

        Returns:
            The request's body: the object as OHIF wrote it, in one part of a multipart message.
        """
        self.open_export_menu()
        return self.store()

    def open_export_menu(self) -> None:
        """The three dots beside the segmentation's name, then Download & Export."""
        self.page.locator('button:has(+ button[role="combobox"])').first.click()
        self.page.get_by_role("menuitem", name="Download & Export").hover()
        self.page.get_by_role("menuitem", name="DICOM SEG").last.wait_for()

    def store(self) -> bytes:
        """Chooses DICOM SEG below Export in the open menu, and saves; see :meth:`save`."""
        self.page.get_by_role("menuitem", name="DICOM SEG").last.click()  # the first one downloads
        with self.page.expect_response(lambda response: response.request.method == "POST") as stored:
            self.page.get_by_role("dialog").get_by_role("button", name="Save").click()
        assert stored.value.status == 200
        return stored.value.request.post_data_buffer or b""

    def dismiss_notice(self) -> None:
        """OHIF's notice that it is for investigational use."""
        confirm = self.page.get_by_role("button", name="Confirm and hide")
        if confirm.is_visible():
            confirm.click()


def ohif_folder() -> Path:
    """OHIF's built files, as ``./run viewer`` puts them there."""
    found = sorted((ROOT / ".cache").glob("ohif-*/index.html"))
    if not found:
        pytest.skip("OHIF absent: ./run viewer")
    return found[-1].parent


def part10_of(body: bytes) -> bytes:
    """The DICOM file in the one part of a multipart message of STOW-RS."""
    boundary = body[: body.index(b"\r\n")]
    start = body.index(b"\r\n\r\n") + 4
    return body[start : body.index(b"\r\n" + boundary, start)]
