"""The node's page in a real browser: what it shows, what its buttons do, that it is live, and that a keyboard is enough."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from browser_harness import Browsing
from filled_store import TASK, FilledStore, SetClock
from page_server import Server, make_node
from playwright.sync_api import Page, expect

from learner.domain.case import RoundState
from learner.domain.user import Role
from learner.node import Node
from learner.operations import training_paused
from learner.storage.store import LocalStore

pytestmark = pytest.mark.browser
MARKUP = "<script>document.title = 'taken over'</script><img src=x onerror=\"document.title = 'taken over'\">"
PASSWORD = "long enough for a test"
TOKEN = "only-for-tests"


@dataclass
class Shown:
    """A page on a node in which something happened."""

    page: Page
    node: Node
    filled: FilledStore
    server: Server


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[FilledStore]:
    """Six cases with twelve rounds; one annotation refused, one learn job given up."""
    clock = SetClock(time.time() - 5 * 86400)
    store = LocalStore(tmp_path / "data", clock=clock)
    filled = FilledStore(store, clock)
    filled.play(6, 12)
    filled.refused(f"its segment '{MARKUP}' is no label of task prostate. Use the label's name.")
    filled.parked(1, "00000001.npz is damaged; restore the data folder from its backup")
    yield filled
    store.close()


@pytest.fixture
def shown(browser: Browsing, filled: FilledStore, tmp_path: Path) -> Iterator[Shown]:
    """The page, once everything of it is there; nothing may go wrong until the end, and nobody else may be asked."""
    node = make_node(tmp_path / "data")
    server = Server(node)
    page = browser.page()
    page.goto(server.url)
    expect(page.locator("#resources .measure").first).to_be_visible()
    shown = Shown(page, node, filled, server)
    yield shown
    page.close()
    shown.server.stop()  # a test may have put another in its place
    node.store.close()
    wanted = ("ERR_CONNECTION", "status of 409")  # Chromium writes these itself, where a test wants them to happen
    assert [error for error in browser.errors if not any(one in error for one in wanted)] == []
    assert browser.outside == []


def test_it_shows_tasks_with_their_curves_cases_versions_memory_and_resources(shown: Shown) -> None:
    page = shown.page
    expect(page.locator(".task h3")).to_contain_text(TASK.title)
    chart = page.locator("svg.chart")
    expect(chart.locator("circle")).to_have_count(5)  # of the first case no network had foreseen anything
    expect(chart.locator("rect")).to_have_count(6)
    assert "Learning curve over 6 cases" in (chart.get_attribute("aria-label") or "")
    tiles = page.locator(".tile", has_text="Drawing saved")
    assert "%" in tiles.inner_text()
    expect(page.locator("#cases tr")).to_have_count(6)
    expect(page.locator("#versions tbody tr").first).to_contain_text("prostate-5")
    expect(page.locator("#versions tbody tr").first).to_contain_text("shadow")
    expect(page.locator("#memory tbody tr")).to_have_count(2)
    expect(page.locator("#live")).to_have_text("Live")


def test_pictures_of_answers_are_drawn_and_a_case_unfolds_to_guidance_with_links_to_the_viewer(shown: Shown) -> None:
    page = shown.page
    row = page.locator("#cases tr[data-case='6']")
    row.scroll_into_view_if_needed()
    expect(row.locator("canvas[data-state='shown']")).to_have_count(2)
    assert row.locator("canvas").first.evaluate(
        "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((value, at) => at % 4 === 0 && value > 60)"
    )
    row.get_by_role("button").click()
    unfolded = page.locator("tr.unfolded")
    expect(unfolded.locator("h5")).to_contain_text("Draw next")
    links = unfolded.locator("figcaption a", has_text="slice")
    expect(links.first).to_be_visible()
    assert "/viewer?StudyInstanceUIDs=2.25.1006" in (links.first.get_attribute("href") or "")
    expect(unfolded.locator("figcaption", has_text="both ends disagree")).to_have_count(1)
    row.get_by_role("button").click()
    expect(unfolded).to_have_count(0)


def test_a_failed_job_is_told_with_its_reason_and_retried(shown: Shown) -> None:
    page = shown.page
    row = page.locator("#attention tr[data-round='1']")
    expect(row).to_contain_text("00000001.npz is damaged; restore the data folder from its backup")
    expect(row).to_contain_text("given up")
    row.get_by_role("button", name="Retry round 1").click()
    expect(row).to_have_count(0)
    assert [(job.kind, job.state) for job in shown.node.store.queries.jobs_of(1)] == [("learn", "ready")]
    refused = page.locator("#attention tr", has_text="refused")
    refused.get_by_role("button").click()
    expect(page.locator("#attention")).to_have_text("Nothing waits and nothing failed.")
    assert shown.node.store.queries.round_counts()[RoundState.QUEUED] == 1


def test_what_came_from_outside_is_text(shown: Shown) -> None:
    expect(shown.page.locator("#attention")).to_contain_text(MARKUP)
    assert shown.page.title() == "PACS Apprentice"
    assert shown.page.locator("#attention img, #attention script").count() == 0


def test_texts_of_objects_are_text_in_cases_and_tasks(shown: Shown) -> None:
    """A series' description and a segment's label become a task's title; a reader's name and remarks stand with the rounds."""
    page, node = shown.page, shown.node
    title = f"Made from the first drawing of {MARKUP}"
    node.tasks.add(replace(TASK, task_id="made", title=title, match=replace(TASK.match, series_description=MARKUP)))
    case = shown.filled.case(1)
    (round_,) = node.store.queries.rounds(case_id=case)
    reactions = {"7": {"kind": "edited", "share": 0.031, "slices": 2}}
    node.store.records.note_facts(round_.round_id, remarks=[f"Segments were left out: {MARKUP}."], reactions=reactions)
    node.store._database.run("UPDATE rounds SET reader = ? WHERE round_id = ?", (MARKUP, round_.round_id))
    page.reload()
    expect(page.locator(".task", has_text="made").locator("h3")).to_contain_text(title)
    page.locator(f"#cases tr[data-case='{case}']").get_by_role("button").click()
    unfolded = page.locator("tr.unfolded")
    expect(unfolded).to_contain_text(f"Segments were left out: {MARKUP}.")
    expect(unfolded.locator("dd", has_text=MARKUP)).to_have_count(1)
    expect(unfolded).to_contain_text("edited, 3 % on 2 slices")
    audit = unfolded.get_by_role("link", name="Audit record").first
    expect(audit).to_be_visible()
    assert (audit.get_attribute("href") or "").endswith(f"/api/audit/rounds/{round_.round_id}")
    assert page.title() == "PACS Apprentice"
    assert page.locator("img[src=x], main script").count() == 0


def test_a_new_round_appears_without_reloading(shown: Shown) -> None:
    page, filled = shown.page, shown.filled
    page.evaluate("window.sameDocument = true")
    case = filled.case(1)
    row = page.locator(f"#cases tr[data-case='{case}']")
    expect(row).to_contain_text("round 1")
    expect(page.locator("#cases tr").first).to_have_attribute("data-case", str(case))
    filled.round(case, 2, 4)
    expect(row).to_contain_text("round 2")
    expect(page.locator("#news")).to_have_text(f"Case {case}, round 2: answered")
    assert page.evaluate("window.sameDocument")


def test_it_goes_on_after_the_node_was_away(shown: Shown) -> None:
    page = shown.page
    shown.server.stop()
    expect(page.locator("#live")).to_contain_text("does not answer")
    case = shown.filled.case(1)
    again = Server(shown.node, port=shown.server.port)
    expect(page.locator(f"#cases tr[data-case='{case}']")).to_be_visible()
    expect(page.locator("#live")).to_have_text("Live")
    shown.server = again


def test_a_rollback_is_asked_for_once_more(shown: Shown) -> None:
    page, checkpoints = shown.page, shown.node.store.checkpoints
    serving = checkpoints.serving(TASK.task_id)
    assert serving is not None
    assert serving.name == "prostate-4"
    button = page.get_by_role("button", name="Roll back to prostate-2")
    button.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("prostate-4 is taken back")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert checkpoints.serving(TASK.task_id) == serving
    button.click()
    dialog.get_by_role("checkbox").check()
    dialog.get_by_role("button", name="Let prostate-2 serve").click()
    expect(page.locator("#versions tr[data-version='prostate-2']")).to_contain_text("chosen by a person")
    now, head = checkpoints.serving(TASK.task_id), checkpoints.head(TASK.task_id)
    assert now is not None
    assert head is not None
    assert (now.name, head.name) == ("prostate-2", "prostate-2")
    shown.node.store.forgotten.order("2.25.1002", "key", str, why="asked")
    expect(page.locator("#versions tr[data-version='prostate-2']")).to_contain_text("learned from a forgotten study")
    expect(page.locator("#versions tr[data-version='prostate-1']")).not_to_contain_text("forgotten")


def test_a_refusal_of_the_node_is_told_with_its_remedy(shown: Shown) -> None:
    page, node = shown.page, shown.node
    page.route("**/api/changes*", lambda route: None)  # the page is not told
    row = page.locator("#attention tr[data-round='1']")
    expect(row).to_be_visible()
    page.route(
        "**/api/rounds/1/retry",
        lambda route: route.fulfill(
            status=409,
            content_type="application/problem+json",
            json={
                "title": "Conflict",
                "status": 409,
                "detail": "round 1 is answered",
                "remedy": "Only what failed can be retried.",
            },
        ),
    )
    row.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_contain_text("round 1 is answered. Only what failed can be retried.")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_role("alert")).to_be_hidden()
    assert node.store.queries.jobs_of(1)[0].state == "parked"


def test_a_keyboard_is_enough(shown: Shown) -> None:
    page = shown.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the cases"
    met = []
    for _ in range(80):
        page.keyboard.press("Tab")
        met.append(
            page.evaluate("document.activeElement.dataset.key || document.activeElement.id || document.activeElement.tagName")
        )
    order = [
        "theme",
        "training",
        "reconcile",
        "retry-1-learning",
        "figures-prostate",
        "cases-task",
        "case-6",
        "roll-back-prostate-2",
    ]
    assert [one for one in met if one in order][: len(order)] == order
    page.locator("[data-key='training']").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#training")).to_have_text("Resume training")
    assert training_paused(shown.node.store)
    assert page.evaluate("document.activeElement.id") == "training"
    page.keyboard.press("Space")
    expect(page.locator("#training")).to_have_text("Pause training")
    page.locator("[data-key='case-6']").focus()
    page.keyboard.press("Enter")
    expect(page.locator("tr.unfolded")).to_be_visible()
    page.wait_for_function("document.activeElement.dataset.key === 'case-6'")  # it comes back once the rounds are there
    page.keyboard.press("Enter")
    expect(page.locator("tr.unfolded")).to_have_count(0)


def test_a_node_with_a_token_asks_for_it(browser: Browsing, filled: FilledStore, tmp_path: Path) -> None:
    node = make_node(tmp_path / "data")
    server = Server(node, TOKEN)
    try:
        page = browser.page()
        page.goto(server.url)
        expect(page.locator("#token")).to_be_focused()
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("That is not this node's token.")
        expect(page.locator("#node")).to_be_hidden()
        page.locator("#token").fill(TOKEN)
        page.keyboard.press("Enter")
        row = page.locator("#cases tr").first
        row.scroll_into_view_if_needed()
        expect(row.locator("canvas[data-state='shown']")).to_have_count(2)
        expect(page.get_by_role("alert")).to_be_hidden()
        page.close()
    finally:
        server.stop()
        node.store.close()
    assert filled.committed_at


def test_who_is_signed_in_by_name_is_shown_and_signs_in_again_once_the_session_is_over(
    browser: Browsing, filled: FilledStore, tmp_path: Path
) -> None:
    node = make_node(tmp_path / "data")
    node.store.accounts.add_user("Eva Reader", Role.READER, PASSWORD)
    server = Server(node)
    try:
        page = browser.page()
        page.goto(server.url)
        page.get_by_label("Name").fill("Eva Reader")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.get_by_role("link", name="Eva Reader")).to_be_visible()
        expect(page.locator("#cases tr").first).to_be_visible()
        node.store.accounts.set_password("Eva Reader", f"{PASSWORD}, changed")  # whoever is signed in must sign in again
        expect(page.get_by_label("Password")).to_be_visible()
        assert "/sign-in?next=" in page.url
        page.close()
    finally:
        server.stop()
        node.store.close()
    assert filled.committed_at


def test_a_node_on_which_nothing_happened_says_what_to_do(browser: Browsing, tmp_path: Path) -> None:
    node = make_node(tmp_path / "data")
    server = Server(node)
    try:
        page = browser.page()
        page.goto(server.url)
        expect(page.locator("#no-cases")).to_contain_text("No case yet: draw a structure on a few slices")
        expect(page.locator("#versions")).to_contain_text("No version yet")
        expect(page.locator("#memory")).to_contain_text("Nothing is remembered yet.")
        expect(page.locator("#tasks")).to_contain_text("the curve begins with the first answered annotation")
        page.close()
    finally:
        server.stop()
        node.store.close()
    assert browser.errors == []


@pytest.mark.parametrize(
    ("theme", "scheme", "dark"), [("dark", "light", True), ("light", "dark", False), ("system", "light", False)]
)
def test_it_is_dark_unless_somebody_wants_it_otherwise(shown: Shown, theme: str, scheme: str, dark: bool) -> None:
    page = shown.page
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of Playwright's literals
    page.locator("#theme").select_option(theme)
    page.reload()
    expect(page.locator("#theme")).to_have_value(theme)
    lightness = page.evaluate("parseInt(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])")
    assert (lightness < 60) == dark


_CONTRAST = """() => {
    const light = (text) => {
        const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
            .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
        for (let one = element; one; one = one.parentElement) {
            const colour = getComputedStyle(one).backgroundColor;
            if (colour !== "rgba(0, 0, 0, 0)") return light(colour);
        }
        return 1;
    };
    const low = [];
    for (const element of document.querySelectorAll("body *")) {
        const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
        if (!own || element.disabled || !element.checkVisibility() || element.closest("script, svg")) continue;
        const [a, b] = [light(getComputedStyle(element).color), ground(element)].sort((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < 4.5) low.push(`${element.tagName} ${element.textContent.slice(0, 30)} ${ratio.toFixed(2)}`);
    }
    return low;
}"""


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_text_stands_out_from_its_ground_as_wcag_aa_asks(shown: Shown, theme: str) -> None:
    shown.page.locator("#theme").select_option(theme)
    assert shown.page.evaluate(_CONTRAST) == []
