// The node's parts, what waits and what failed, and what it takes of its machine.
import { badge, bar, button, link, make, place, show } from "./dom.js";
import { bytes, moment, percent, plural } from "./format.js";

const WORK = { answer: "Answer", learning: "Learning" };
const PARTS = { replay: "replay memory", checkpoints: "versions", rounds: "rounds", examples: "examples held back or to learn from",
  outbox: "results to deliver", inbox: "received images", database: "records" };

function fact(name, text, kind = "") {
  return make("div", {}, make("dt", {}, name), make("dd", { class: kind }, text));
}

/** The node at a glance. */
export function showState(status) {
  place("version").textContent = status.version;
  const waiting = status.jobs.filter((job) => job.state === "ready" || job.state === "leased");
  const count = (kind) => waiting.filter((job) => job.kind === kind).reduce((sum, job) => sum + job.count, 0);
  const { node } = status;
  const archive = node.archive_error || (node.last_intake_at ? "is read" : "not read yet");
  const trainer = (node.trainer_alive ? "runs" : "does not run") + (node.trainer_restarts ? `, started again ${plural(node.trainer_restarts, "time")}` : "");
  const training = node.learning_waits || (status.training_paused ? "paused" : "goes on");
  show(place("state"), [archive, trainer, count("respond"), count("learn"), training, node.store_error, status.rounds], () => [
    fact("Archive", archive, node.archive_error ? "error" : node.last_intake_at ? "good" : "warning"),
    fact("Trainer", trainer, node.trainer_alive ? "good" : "error"),
    fact("Training", training, training === "goes on" ? "good" : "warning"),
    fact("Store", node.store_error || "works", node.store_error ? "error" : "good"),
    fact("To answer", String(count("respond"))),
    fact("To learn", String(count("learn"))),
    fact("Rounds", Object.entries(status.rounds).map(([state, number]) => `${number} ${state}`).join(", ") || "none"),
  ]);
  const switches = place("training");
  switches.textContent = status.training_paused ? "Resume training" : "Pause training";
  switches.dataset.path = status.training_paused ? "/api/training/resume" : "/api/training/pause";
}

function trouble(one, retry) {
  const about = one.case_id ? [link(`Case ${one.case_id}`, one.link, { "data-key": `trouble-case-${one.round_id}` }), one.task_id ? ` of ${one.task_id}` : ""] : ["not known yet"];
  const state = one.state === "ready" || one.state === "leased" ? `${one.attempts ? `tried ${plural(one.attempts, "time")}, ` : ""}goes on by itself` : "";
  return make("tr", { "data-round": one.round_id },
    make("td", {}, badge(one.state === "parked" ? "given up" : one.state === "ready" || one.state === "leased" ? "retrying" : one.state)),
    make("td", {}, `${WORK[one.work] ?? one.work}, round ${one.round_id}`, make("div", { class: "reason" }, state)),
    make("td", {}, ...about), make("td", { class: "why" }, one.reason || "no reason was recorded"),
    make("td", { class: "number" }, moment(one.received_at)),
    make("td", {}, one.can_retry ? button("Retry", `retry-${one.round_id}-${one.work}`, () => retry(one.round_id), { "aria-label": `Retry round ${one.round_id}` }) : null));
}

const HEAD = ["State", "What", "Case", "Reason, and what to do", "Since", "Action"];

/** What waits and what failed. */
export function showTrouble(page, retry) {
  place("attention-count").textContent = page.total ? String(page.total) : "";
  show(place("attention"), page, ({ total, entries }) => total === 0
    ? [make("p", { class: "empty good" }, "Nothing waits and nothing failed.")]
    : [make("div", { class: "scroll" }, make("table", {},
      make("thead", {}, make("tr", {}, ...HEAD.map((name) => make("th", { scope: "col" }, name)))),
      make("tbody", {}, ...entries.map((one) => trouble(one, retry))))),
    total > entries.length ? make("p", { class: "reason" }, `The latest ${entries.length} of ${total}; \`apprentice rounds --state refused\` lists more.`) : null]);
}

function measure(name, share, text, kind = "") {
  return make("div", { class: "measure" }, make("span", { class: "name" }, name), bar(share, kind || (share > 0.9 ? "bad" : "")), make("span", { class: "said" }, text));
}

/** Processors, memory, disk and GPU. */
export function showResources(found) {
  show(place("resources"), found, ({ cores, memory_total: memory, memory_available: available, processes, disk, gpus }) => [
    ...processes.map((one) => measure(`${one.name}: processors`, one.cores_used / cores, `${one.cores_used.toFixed(1)} of ${plural(cores, "core")}`, "plain")),
    ...processes.map((one) => measure(`${one.name}: memory`, one.memory / memory, bytes(one.memory), "plain")),
    measure("Memory of the machine", 1 - available / memory, `${bytes(available)} of ${bytes(memory)} free`),
    measure("Disk of the data folder", 1 - disk.free / disk.total, `${bytes(disk.free)} of ${bytes(disk.total)} free`),
    ...gpus.flatMap((gpu) => [
      gpu.share === null ? null : measure(gpu.name, gpu.share, `${percent(gpu.share)} in use`, "plain"),
      gpu.memory === null || !gpu.memory_total ? null : measure(`${gpu.name}: memory`, gpu.memory / gpu.memory_total, `${bytes(gpu.memory)} of ${bytes(gpu.memory_total)}`),
    ]),
    make("p", { class: "reason" }, `In the data folder: ${disk.parts.map((part) => `${PARTS[part.name] ?? part.name} ${bytes(part.size)}`).join(", ")}.`
      + (gpus.length ? "" : " No GPU is known to the system's driver.")),
  ]);
}
