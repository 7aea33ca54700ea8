// The table of cases, a page at a time; a case unfolds to its rounds.
import { ask } from "./api.js";
import { badge, bar, button, link, make, place, show } from "./dom.js";
import { dice, moment, percent, plural } from "./format.js";
import { picture } from "./picture.js";
import { roundList } from "./rounds.js";

const PAGE = 25;
const opened = new Map(); // number of a case: its rounds, and the pictures of its latest answer
const view = { task: "", offset: 0, total: 0 };
let again = async () => {};

function small(one, kind) {
  const found = one.pictures.find((candidate) => candidate.kind === kind);
  return make("td", { class: "thumb" }, found ? picture(found, "small") : make("span", { class: "none" }, kind === "answer" ? "no picture" : "none"));
}

function drawn(one) {
  if (one.drawn === null || !one.slices) return make("td", {});
  const share = one.drawn / one.slices;
  return make("td", { class: "number" }, `${one.drawn} of ${one.slices} (${percent(share)})`, bar(share));
}

function latest(one) {
  const name = one.number === null ? "" : one.number === 0 ? "before drawing" : `round ${one.number}`;
  return make("td", {}, badge(one.state), " ", name, one.reason ? make("div", { class: "reason" }, one.reason) : null,
    one.enough && one.state === "answered" ? make("div", { class: "reason" }, "enough is drawn") : null);
}

async function load(one) {
  const [detail, linked] = await Promise.all([
    ask("GET", `/api/cases/${one.case_id}`),
    one.pictures.length ? ask("GET", one.pictures[0].path.replace(/\/\d+$/, "")) : null,
  ]);
  opened.set(one.case_id, { round: one.round_id, state: one.state, detail, linked });
}

function unfold(one) {
  const open = opened.has(one.case_id);
  const said = `${open ? "Hide" : "Show"} ${plural(one.rounds, "round")}`;
  return button(said, `case-${one.case_id}`, async () => {
    if (open) opened.delete(one.case_id);
    else await load(one);
    await again();
  }, { "aria-expanded": String(open), "aria-label": `${said} of case ${one.case_id}` });
}

function rows(one) {
  const name = make("td", {}, link(`Case ${one.case_id}`, one.link, { "data-key": `open-${one.case_id}`, title: "Open in the viewer" }),
    make("div", { class: "reason" }, one.task_id));
  const row = make("tr", { "data-case": one.case_id }, small(one, "answer"), small(one, "residual"), name, latest(one), drawn(one),
    make("td", { class: "number" }, dice(one.estimated_dice)), make("td", { class: "number" }, moment(one.received_at)), make("td", {}, unfold(one)));
  const more = opened.get(one.case_id);
  return more ? [row, make("tr", { class: "unfolded" }, make("td", { colspan: 8 }, roundList(more.detail, more.linked)))] : [row];
}

function showPage(page) {
  const to = view.offset + page.cases.length;
  place("cases-count").textContent = page.total ? plural(page.total, "case") : "";
  place("cases-range").textContent = page.total ? `${view.offset + 1} to ${to}` : "";
  place("newer").disabled = view.offset === 0;
  place("older").disabled = to >= page.total;
  place("no-cases").hidden = page.total > 0;
  place("cases-table").hidden = page.total === 0;
  const known = [...opened].map(([number, more]) => [number, more.round, more.state]);
  show(place("cases"), [page.cases, known], () => page.cases.flatMap(rows));
}

/** Asks for the page of cases that is looked at and shows it; rounds that are unfolded are asked for again where they changed. */
export async function showCases() {
  const task = view.task ? `&task=${encodeURIComponent(view.task)}` : "";
  const page = await ask("GET", `/api/overview/cases?limit=${PAGE}&offset=${view.offset}${task}`);
  if (page.cases.length === 0 && view.offset > 0) {
    view.offset = 0;
    return showCases();
  }
  const changed = page.cases.filter((one) => {
    const more = opened.get(one.case_id);
    return more && (more.round !== one.round_id || more.state !== one.state);
  });
  await Promise.all(changed.map(load));
  showPage(page);
  return page;
}

/** @param refresh shows the cases, and says what goes wrong */
export function startCases(refresh) {
  again = refresh;
  const turn = (step) => () => {
    view.offset = Math.max(0, view.offset + step);
    return again();
  };
  place("newer").addEventListener("click", turn(-PAGE));
  place("older").addEventListener("click", turn(PAGE));
  place("cases-task").addEventListener("change", (event) => {
    [view.task, view.offset] = [event.target.value, 0];
    return again();
  });
}

export function offerTasks(tasks) {
  show(place("cases-task"), tasks.map((task) => [task.task_id, task.title]), (named) => [
    make("option", { value: "" }, "All tasks"), ...named.map(([value, title]) => make("option", { value }, title))]);
  place("cases-task").value = view.task;
}
