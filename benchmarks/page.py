"""The node's page in a real browser, on a store with many cases: how soon it stands, and how soon it shows a new round.

    ./run bench page --cases 200 --rounds 1000

A real node (``apprentice serve``, with an empty inbox as its archive) serves the page to Chromium. Rounds are written by
another process than the server's, through the store's ports, as the trainer writes. Times are the browser's own, from the
beginning of the navigation; a round's from the moment at which its transaction was committed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import httpx2
import psutil
from browser_harness import Browsing, browsing, driver
from filled_store import TASK, FilledStore, SetClock
from node_harness import TASK_FILE, free_port, wait_for
from playwright.sync_api import Page

from learner.storage.store import LocalStore

CONFIGURATION = """
[node]
data = "data"
log_format = "text"
[pacs]
kind = "inbox"
store_by = "dicomweb"
[scp]
port = {dicom_port}
[api]
port = {port}
viewer_url = "http://127.0.0.1:{port}/viewer?StudyInstanceUIDs={{study}}"
[tasks]
folder = "tasks"
[answer]
threads = 1
[learning]
threads = 1
"""
ROWS = 25
_UNTIL = """() => new Promise((resolve) => {{
    const look = () => {{
        const found = {condition};
        if (found) resolve(performance.timeOrigin + performance.now());
        else requestAnimationFrame(look);
    }};
    look();
}})"""
"""The page's policy allows no other way to wait in it: Playwright's own evaluates text."""
_DRAWN = f"document.querySelectorAll('#cases tr').length >= {ROWS} && document.querySelector('#cases').offsetHeight > 0"
_WHOLE = " && ".join(
    f"document.querySelector('{one}')" for one in ("svg.chart", "#versions table", "#memory table", "#resources .measure")
)
_ROW = "document.querySelector('#cases tr[data-case=\"{case}\"]')?.textContent.includes('round {place}')"


def until(page: Page, condition: str) -> float:
    """POSIX milliseconds of the frame in which a condition came true in the page."""
    return float(page.evaluate(_UNTIL.format(condition=condition)))


def fill(folder: Path, cases: int, rounds: int) -> FilledStore:
    """A store with so many cases and rounds, and some trouble."""
    clock = SetClock(time.time() - 90 * 86400)
    filled = FilledStore(LocalStore(folder, clock=clock), clock)
    filled.play(cases, rounds)
    clock.at = time.time() - 3600
    filled.refused(
        "object 2.25.4711 cannot be used: its segment 'Lesion' is no label of task prostate. Use the label's name or its "
        "code, or add the name to `names` of the label in the task's file."
    )
    filled.waiting("its image series 2.25.99 is not in the archive; it is answered once the series is complete in the archive")
    filled.parked(filled.case(2), "00000812.npz is damaged; restore the data folder from its backup")
    clock.at = time.time()
    return filled


def serve(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """A node on that folder, once it answers."""
    (folder / "tasks").mkdir(exist_ok=True)
    (folder / "tasks" / "prostate.toml").write_text(TASK_FILE)
    (folder / "apprentice.toml").write_text(CONFIGURATION.format(port=port, dicom_port=free_port()))
    with (folder / "node.log").open("wb") as log:
        command = [sys.executable, "-m", "learner", "serve", "--config", str(folder / "apprentice.toml")]
        process = subprocess.Popen(command, stdout=log, stderr=log)

    def ready() -> bool:
        assert process.poll() is None, (folder / "node.log").read_text()[-2000:]
        try:
            return httpx2.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).status_code == 200
        except httpx2.HTTPError:
            return False

    wait_for(ready, "the node", 120)
    return process


def loads(browser: Browsing, url: str) -> dict[str, float]:
    """Milliseconds of one load, in a tab of its own, from the beginning of the navigation."""
    page = browser.page()
    page.goto(url, wait_until="commit")
    drawn, whole = until(page, _DRAWN), until(page, _WHOLE)
    began = float(page.evaluate("performance.timeOrigin"))
    page.close()
    return {"table of cases drawn": drawn - began, "whole page (curves, versions, memory, resources)": whole - began}


def update(page: Page, filled: FilledStore, case: int, place: int) -> float:
    """Milliseconds from the commit of a new round to the frame that shows it."""
    filled.clock.at = time.time()
    page.evaluate(f"() => {{ window.seen = ({_UNTIL.format(condition=_ROW.format(case=case, place=place))})(); }}")
    filled.round(case, place, 4)
    return float(page.evaluate("window.seen")) - filled.committed_at * 1000


def main() -> None:
    """Fills, serves, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    parser.add_argument("--screenshot", type=Path, help="keep a picture of the page")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, driver() as playwright, browsing(playwright, width=1440, height=900) as browser:
        folder, port = Path(name), free_port()
        filled = fill(folder / "data", wanted.cases, wanted.rounds)
        process = serve(folder, port)
        try:
            figures = measure(browser, process.pid, f"http://127.0.0.1:{port}/", filled, wanted.runs, wanted.screenshot)
        finally:
            process.terminate()
            process.wait(timeout=60)
            filled.store.close()
        assert not browser.errors, browser.errors
    print(f"{wanted.cases} cases, {wanted.rounds} rounds of task {TASK.task_id}; {wanted.runs} runs; milliseconds")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    print(f"{'':56}{'median':>8}{'worst':>8}")
    for what, values in figures.items():
        print(f"{what:56}{statistics.median(values):8.0f}{max(values):8.0f}")
    if wanted.json:
        wanted.json.write_text(json.dumps(figures, indent=1))


def processor_ms(pid: int) -> float:
    """Milliseconds of processor time that the server has taken so far."""
    times = psutil.Process(pid).cpu_times()
    return 1000 * float(times.user + times.system)


def measure(
    browser: Browsing, pid: int, url: str, filled: FilledStore, runs: int, screenshot: Path | None
) -> dict[str, list[float]]:
    """All figures; the first load, with an empty cache and a cold server, is among them."""
    figures: dict[str, list[float]] = {}
    for _ in range(runs):
        before = processor_ms(pid)
        for what, value in loads(browser, url).items():
            figures.setdefault(what, []).append(value)
        figures.setdefault("processor time of the server for one load", []).append(processor_ms(pid) - before)
    page = browser.page()
    page.goto(url)
    until(page, _WHOLE)
    case = filled.case(1)
    page.wait_for_selector(f"#cases tr[data-case='{case}']")
    figures["new round: from its commit to its row on the page"] = [
        update(page, filled, case, place) for place in range(2, runs + 2)
    ]
    if screenshot:
        page.screenshot(path=screenshot, full_page=True)
    page.close()
    return figures


if __name__ == "__main__":
    main()
