// Each task: what serves it, how well the network foresees, what readers still draw, and whether that drifts.
import { ask } from "./api.js";
import { learningChart, learningTable } from "./chart.js";
import { badge, make, place, show } from "./dom.js";
import { dice, percent, plural, siteName } from "./format.js";

const unfolded = new Set();
const MEASURES = { foresight: "network alone", estimated_dice: "estimated Dice", unchanged: "share left unchanged" };

function tile(name, value, said, kind = "") {
  return make("div", { class: "tile" }, make("dt", {}, name), make("dd", { class: kind }, value), make("dd", { class: "reason" }, said));
}

function saved(curve) {
  if (curve.saved === null) return tile("Drawing saved", "–", curve.first ? "told from the fourth case on" : "nothing measured yet");
  const compared = `${percent(curve.latest.share)} of the slices drawn on the latest ${plural(curve.latest.cases, "case")}, `
    + `${percent(curve.first.share)} on the first ${curve.first.cases}`;
  const quality = curve.latest.estimated_dice === null || curve.first.estimated_dice === null ? ""
    : `; estimated Dice of the answers ${dice(curve.latest.estimated_dice)} against ${dice(curve.first.estimated_dice)}`;
  return tile("Drawing saved", percent(curve.saved), compared + quality, curve.saved < 0 ? "warning" : "");
}

function drift(task) {
  const alarms = task.drift.filter((one) => one.alarm);
  if (alarms.length === 0) return tile("Drift", "none", "answers need no more correction than usual");
  const named = alarms.map((one) => `${MEASURES[one.measure] ?? one.measure}${one.site ? ` at ${siteName(one.site)}` : ""}`);
  return tile("Drift", "alarm", `more correction than usual: ${named.join(", ")}`, "warning");
}

function serving(task) {
  const value = task.checkpoint || "none yet";
  if (!task.newest) return tile("Serving", value, "answers come from propagation alone until a network has passed the gate");
  const newest = task.newest === task.checkpoint ? plural(task.steps, "training step") : `newest: ${task.newest}, ${task.newest_state}`;
  return tile("Serving", value, newest + (task.gate ? `; gate: ${task.gate}` : ""));
}

function table(task, curve) {
  const box = make("details", {}, make("summary", { "data-key": `figures-${task.task_id}` }, "Figures as a table"));
  const unfold = () => { if (box.children.length < 2) box.append(learningTable(curve)); };
  box.open = unfolded.has(task.task_id);
  if (box.open) unfold();
  box.addEventListener("toggle", () => {
    unfolded[box.open ? "add" : "delete"](task.task_id);
    if (box.open) unfold();
  });
  return box;
}

function card([task, curve]) {
  const title = make("h3", {}, task.title, " ", make("small", {}, task.task_id));
  const tiles = make("dl", { class: "tiles" }, serving(task),
    tile("Network before learning", dice(curve.foresight), curve.foresight === null
      ? "Dice on readers' first drawings; told once a network serves" : "Dice on the first drawings of the latest cases"),
    saved(curve), drift(task));
  const body = curve.cases.length === 0
    ? [make("p", { class: "empty" }, "No case was drawn yet: the curve begins with the first answered annotation.")]
    : [learningChart(curve), table(task, curve)];
  return make("article", { class: "task" }, make("header", {}, title, badge(task.checkpoint ? "serving" : "learning")),
    make("div", { class: "curve" }, tiles, make("div", {}, ...body)));
}

/** Asks for the curve of each task and shows them. */
export async function showTasks(tasks) {
  const curves = await Promise.all(tasks.map((task) => ask("GET", `/api/tasks/${encodeURIComponent(task.task_id)}/learning`)));
  show(place("tasks"), tasks.map((task, index) => [task, curves[index]]), (pairs) => pairs.length
    ? pairs.map(card) : [make("p", { class: "empty" }, "No task yet: put a task file into the folder that tasks.folder names, and start the node again.")]);
}
