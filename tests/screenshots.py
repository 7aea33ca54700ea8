"""Makes the pictures of ``docs/first-steps.md`` anew: the real flow in a real browser (``./run screenshots``)."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

from brain import TASK_FILE, Brain, brain, teach
from browser_harness import browsing, driver
from node_harness import RunningNode, running_node, wait_for
from ohif_harness import Ohif, ohif_folder, part10_of
from PIL import Image

from learner.demo.orthanc import LocalOrthanc

_BRUSH_MM = 8.0
_COLOURS = 160
_PATIENCE_S = 600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parent.parent / "docs" / "images")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="screenshots-")))

        def make_orthanc(**options: object) -> LocalOrthanc:
            orthanc = LocalOrthanc(home / "orthanc", **({"credentials": {"apprentice": "only-for-pictures"}} | options))
            stack.callback(orthanc.kill)
            return orthanc

        (home / "orthanc").mkdir()
        viewer = f'[viewer]\nfolder = "{ohif_folder()}"\n'
        node = stack.enter_context(
            running_node(home / "node", make_orthanc, steps=20, pacs=viewer, task=TASK_FILE, task_id="brain")
        )
        teach(node, _PATIENCE_S)
        playwright = stack.enter_context(driver())
        page = stack.enter_context(browsing(playwright, width=1280, height=760, timeout_s=_PATIENCE_S)).page()
        _flow(node, Ohif(page, node.url), Pictures(folder))


class Pictures:
    """Where pictures go."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, ohif: Ohif, name: str, *, mouse_away: bool = True) -> None:
        """The page as it is, with few enough colours to be small; an open menu needs the mouse where it is."""
        if mouse_away:
            ohif.page.mouse.move(640, 20)
        assert not ohif.page.get_by_text("Something went wrong").is_visible(), f"{name}: OHIF reports an error"
        picture = Image.open(BytesIO(ohif.page.screenshot(animations="disabled"))).convert("RGB")
        path = self._folder / f"{name}.png"
        picture.quantize(_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
        print(f"{path.name}: {path.stat().st_size // 1024} kB")  # noqa: T201 - a command


def _flow(node: RunningNode, ohif: Ohif, pictures: Pictures) -> None:
    case = brain("pictures", number=2, first=30, slice_mm=8, pixel_mm=1)
    images = node.send(case.files)
    series = images.volume.series
    sops = series.sop_instance_uids
    rounds = f"/series/{series.series_instance_uid}/rounds"
    wait_for(lambda: [one for one in node.get(rounds) if one["answered_at"]], "round 0", _PATIENCE_S)

    ohif.page.goto(f"{node.url}/ohif/")
    ohif.page.get_by_text("Demo").first.wait_for()
    ohif.dismiss_notice()
    ohif.page.get_by_text("Demo, Case 2").click()
    ohif.page.get_by_role("button", name="Segmentation").first.wait_for()
    pictures.take(ohif, "1-study-list")

    ohif.open(f"/ohif/segmentation?StudyInstanceUIDs={series.study_instance_uid}")
    ohif.add_segmentation()
    ohif.take("Brush", _BRUSH_MM)
    for number, index in enumerate((5, 10), start=2):
        ohif.scroll_to(sops, sops[index])
        _draw(ohif, case, index)
        pictures.take(ohif, f"{number}-drawn")
    ohif.open_export_menu()
    pictures.take(ohif, "4-save", mouse_away=False)
    saved = part10_of(ohif.store())
    answered = node.answered(saved, timeout_s=_PATIENCE_S)

    detail = node.get(f"/rounds/{answered.round_id}")
    series_of = {one["kind"]: one["series_instance_uid"] for one in detail["results"]}
    view = detail["round"]
    ohif.open(view["link"])
    ohif.scroll_to(sops, sops[7])
    ohif.settled_pixels()
    pictures.take(ohif, "5-answer")
    ohif.open(view["link"].replace(series_of["prediction"], series_of["residual-bands"]))
    ohif.scroll_to(sops, sops[7])
    ohif.settled_pixels()
    pictures.take(ohif, "6-residual")
    wanted = next(one for one in view["guidance"] if one["link"])
    ohif.open(wanted["link"], wanted["sop_instance_uid"])
    ohif.settled_pixels()
    pictures.take(ohif, "7-next-slice")


def _draw(ohif: Ohif, case: Brain, index: int) -> None:
    for round_ in case.strokes(index, _BRUSH_MM):
        ohif.stroke(case.points(index, round_))


if __name__ == "__main__":
    if shutil.which("chromium") is None:
        raise SystemExit("Chromium absent: apt-get install --no-install-recommends chromium")
    main()
