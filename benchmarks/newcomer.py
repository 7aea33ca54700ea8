"""A newcomer's first answer in a real browser, at a person's pace: from the address that the demo prints to the answer.

    ./run bench newcomer

Starts ``apprentice demo`` with the viewer, waits until it stays, and does with mouse and menus what docs/first-steps.md
says. Before each action it waits as long as a person needs who reads what to do next (``--reading`` seconds), and it leads
the brush at a person's speed: the sum is the wall clock of somebody who does it for the first time. What of it the
machine took is told apart.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
from browser_harness import browsing, driver
from node_harness import wait_for
from ohif_harness import CANVAS, Ohif, ohif_folder
from playwright.sync_api import Page

PATIENCE_S = 600.0
BRUSH_MM = 12
STROKE_S = 8.0
"""How long a person leads the brush around in one cross-section."""


@dataclass
class Stopwatch:
    """Seconds of each step: those that the machine took, and those of the person.

    Attributes:
        reading_s: what a person needs before each action.
        steps: name, seconds of the machine, seconds of the person.
    """

    reading_s: float
    steps: list[tuple[str, float, float]] = field(default_factory=list)

    def step(self, name: str, act: Callable[[], None], person_s: float = 0.0) -> None:
        """One action and its waiting; ``person_s`` of it is the person's hand."""
        time.sleep(self.reading_s)
        began = time.monotonic()
        act()
        took = time.monotonic() - began
        self.steps.append((name, round(took - person_s, 1), round(self.reading_s + person_s, 1)))


@contextmanager
def demo(folder: Path) -> Iterator[str]:
    """A demo that stays.

    Yields:
        The address behind ``draw on:``.
    """
    command = [sys.executable, "-m", "learner", "demo", "--viewer", str(ohif_folder()), "--work", str(folder), "--cases", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        address = ""
        for line in process.stdout:
            print(line, end="", file=sys.stderr)
            address = line.split("draw on:")[1].strip() if "draw on:" in line else address
            if "The node runs" in line:
                break
        if not address:
            raise SystemExit("the demo named no address to draw at")
        yield address
    finally:
        process.terminate()
        process.wait()


def paint(ohif: Ohif, seconds: float) -> None:
    """One round of the brush in the middle of the picture, at a person's speed."""
    box = ohif.canvas.bounding_box()
    assert box is not None
    middle = np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
    radius = 0.12 * min(box["width"], box["height"])
    angles = np.linspace(0, 4 * np.pi, 60)
    places = middle + np.column_stack([np.cos(angles), np.sin(angles)]) * np.linspace(radius, 0.3 * radius, 60)[:, None]
    mouse = ohif.page.mouse
    mouse.move(*places[0])
    mouse.down()
    began = time.monotonic()
    for number, (x, y) in enumerate(places):
        mouse.move(x, y)
        time.sleep(max(0.0, began + seconds * (number + 1) / len(places) - time.monotonic()))
    mouse.up()


def turn(ohif: Ohif, notches: int) -> None:
    """Turns the mouse wheel and waits for each image."""
    for _ in range(notches):
        before = ohif.shown
        ohif.page.mouse.wheel(0, 100)
        wait_for(lambda before=before: ohif.shown != before, "the next image", PATIENCE_S)


def first_answer(page: Page, address: str, reading_s: float, pictures: Path | None) -> Stopwatch:
    """The steps of docs/first-steps.md."""
    watch = Stopwatch(reading_s)
    server = re.match(r"https?://[^/]+", address)
    assert server is not None
    ohif = Ohif(page, server.group())

    def open_it() -> None:
        ohif.open(address.removeprefix(server.group()))
        page.get_by_text("Add segmentation").wait_for()

    def first_slice() -> None:
        canvas = page.locator(CANVAS).first.bounding_box()
        assert canvas is not None
        page.mouse.move(canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2)
        turn(ohif, 12)

    def save() -> None:
        ohif.save()

    def show() -> None:
        page.get_by_role("button", name="Show the answer").click()
        page.wait_for_url(re.compile("initialSeriesInstanceUID="))
        ohif.wait_for_image("/instances/")
        ohif.settled_pixels()

    panel = page.get_by_role("complementary", name="PACS Apprentice")
    watch.step("open the study", open_it)
    watch.step("Add segmentation", ohif.add_segmentation)
    watch.step("Brush and its radius", lambda: ohif.take("Brush", BRUSH_MM))
    watch.step("turn to a slice in the middle", first_slice)
    watch.step("paint it", lambda: paint(ohif, STROKE_S), STROKE_S)
    watch.step("turn to another slice", lambda: turn(ohif, 4))
    watch.step("paint that, too", lambda: paint(ohif, STROKE_S), STROKE_S)
    watch.step("Download & Export, DICOM SEG, Save", save)
    watch.step("wait for the answer", lambda: panel.get_by_role("button", name="Show the answer").wait_for())
    watch.step("Show the answer", show)
    if pictures is not None:
        page.screenshot(path=pictures / "newcomer.png")
    return watch


def main() -> None:
    """Plays the demo, then the newcomer; prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reading", type=float, default=5.0, help="seconds that a person reads before each action")
    parser.add_argument("--work", type=Path, default=Path("var/newcomer"), help="folder of the demo's node")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--pictures", type=Path, help="folder for a picture of the answer")
    chosen = parser.parse_args()
    with demo(chosen.work) as address, driver() as playwright, browsing(playwright, timeout_s=PATIENCE_S) as browser:
        watch = first_answer(browser.page(), address, chosen.reading, chosen.pictures)
    print("| step | seconds, the machine | seconds, the person |\n|---|---|---|")
    for name, machine, person in watch.steps:
        print(f"| {name} | {machine:.1f} | {person:.1f} |")
    machine, person = sum(step[1] for step in watch.steps), sum(step[2] for step in watch.steps)
    print(f"| all: {machine + person:.0f} s | {machine:.1f} | {person:.1f} |")
    if chosen.json:
        chosen.json.write_text(json.dumps({"steps": watch.steps, "seconds": round(machine + person, 1)}), encoding="utf-8")


if __name__ == "__main__":
    main()
