// The node's page: asks /api every few seconds and shows what it says. Every text goes in by textContent: descriptions come
// from DICOM objects, and may hold anything.
"use strict";

const EVERY_MS = 3000;
const KEY = "apprentice-token";
const place = (id) => document.getElementById(id);
const opened = new Set(); // rounds whose guidance is unfolded: rows are made anew at each look
let timer = 0;
let looking = false;
let sayer = "";
let shown = "";

class Unauthorized extends Error {}

async function ask(method, path) {
  const token = sessionStorage.getItem(KEY);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { method, headers, cache: "no-store" });
  if (response.status === 401) throw new Unauthorized();
  const content = await response.json();
  if (!response.ok) throw new Error([content.detail, content.remedy].filter(Boolean).join(" "));
  return content;
}

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function row(...cells) {
  const made = document.createElement("tr");
  for (const cell of cells) {
    const td = document.createElement("td");
    if (cell instanceof Node) td.append(cell);
    else {
      td.textContent = cell ?? "";
      if (typeof cell === "number") td.className = "number";
    }
    made.append(td);
  }
  return made;
}

function link(text, href) {
  const made = element("a", text);
  made.href = href;
  made.target = "_blank";
  made.rel = "noopener noreferrer";
  return made;
}

function button(text, key, act) {
  const made = element("button", text);
  made.type = "button";
  made.dataset.key = key;
  made.addEventListener("click", async () => {
    made.disabled = true;
    await attempt(act, "button");
    made.disabled = false;
    await look();
  });
  return made;
}

const retryButton = (round, where) => button("Retry", `retry-${where}-${round}`, () => ask("POST", `/api/rounds/${round}/retry`));
const moment = (seconds) => new Date(seconds * 1000).toLocaleString();

function showState(status) {
  place("version").textContent = status.version;
  const waiting = status.jobs.filter((job) => job.state === "ready" || job.state === "leased");
  const count = (kind) => waiting.filter((job) => job.kind === kind).reduce((sum, job) => sum + job.count, 0);
  const node = status.node;
  const facts = [
    ["Archive", node.archive_error || (node.last_intake_at ? `read at ${moment(node.last_intake_at)}` : "not read yet"),
      node.archive_error ? "error" : ""],
    ["Trainer", (node.trainer_alive ? "runs" : "does not run") +
      (node.trainer_restarts ? `, started again ${node.trainer_restarts} times` : ""), node.trainer_alive ? "" : "error"],
    ["To answer", String(count("respond")), ""],
    ["To learn", count("learn") + (status.training_paused ? ", paused" : ""), status.training_paused ? "warning" : ""],
    ["Rounds", Object.entries(status.rounds).map(([state, number]) => `${number} ${state}`).join(", ") || "none", ""],
  ];
  place("state").replaceChildren(...facts.flatMap(([name, text, kind]) => [element("dt", name), element("dd", text, kind)]));
  const training = place("training");
  training.textContent = status.training_paused ? "Resume training" : "Pause training";
  training.dataset.path = status.training_paused ? "/api/training/resume" : "/api/training/pause";
  place("tasks").replaceChildren(...status.tasks.map((task) =>
    row(task.task_id, task.title, task.checkpoint || "none yet", task.steps, newest(task), drift(task), rollBackButton(task))));
}

function newest(task) {
  if (!task.newest) return "";
  const box = element("div", `${task.newest} `);
  box.append(element("span", task.newest_state, task.newest_state));
  if (task.gate) box.append(element("div", task.gate, "reason"));
  return box;
}

function drift(task) {
  const alarms = task.drift.filter((one) => one.alarm);
  if (alarms.length === 0) return "none";
  const words = { foresight: "network alone", estimated_dice: "estimated Dice", unchanged: "share left unchanged" };
  const named = alarms.map((one) => `${words[one.measure] ?? one.measure}${one.site ? ` at site ${one.site.slice(0, 8)}` : ""}`);
  return element("span", `more correction than usual: ${named.join(", ")}`, "warning");
}

function rollBackButton(task) {
  if (!task.checkpoint) return "";
  return button("Roll back", `roll-back-${task.task_id}`, async () => {
    const question = `Take back ${task.checkpoint}? The version that served before answers then, until a later one is clearly better.`;
    if (window.confirm(question)) await ask("POST", `/api/models/${task.model_id}/rollback`);
  });
}

function showJobs(jobs) {
  place("jobs-section").hidden = jobs.length === 0;
  place("jobs").replaceChildren(...jobs.map((job) => row(
    `${job.kind} ${job.job_id}`, job.round_id, element("span", job.state, job.state), element("span", job.reason, "reason"),
    job.state === "parked" ? retryButton(job.round_id, "job") : "")));
}

function drawn(facts) {
  if (!Array.isArray(facts.drawn_slices) || !facts.slices) return "";
  const share = Math.round((100 * facts.drawn_slices.length) / facts.slices);
  return `${facts.drawn_slices.length} of ${facts.slices} (${share} %)`;
}

function guidance(round) {
  const wanted = round.guidance;
  if (wanted.length === 0) return round.facts.enough ? "enough is drawn" : "";
  const box = document.createElement("details");
  box.open = opened.has(round.round_id);
  box.addEventListener("toggle", () => opened[box.open ? "add" : "delete"](round.round_id));
  const axes = ["slice", "row plane", "column plane"];
  const names = wanted.map((one) => `${axes[one.axis] ?? "plane"} ${one.index + 1}`);
  const more = wanted.length > 1 ? ` and ${wanted.length - 1} more` : "";
  const summary = element("summary", `${names[0]}${more}${round.facts.enough ? "; little would be gained" : ""}`);
  summary.dataset.key = `guidance-${round.round_id}`;
  box.append(summary);
  const list = document.createElement("ol");
  wanted.forEach((one, place_) => {
    const item = document.createElement("li");
    item.append(one.link ? link(names[place_], one.link) : names[place_], ` (${one.score.toFixed(2)}): ${one.reason}`);
    list.append(item);
  });
  box.append(list);
  return box;
}

function showRounds(rounds) {
  place("no-rounds").hidden = rounds.length > 0;
  place("rounds").replaceChildren(...rounds.map((round) => {
    const url = round.link;
    const state = element("div");
    state.append(element("span", round.state, round.state));
    if (round.reason) state.append(element("div", round.reason, "reason"));
    const seconds = round.answered_at === null ? "" : (round.answered_at - round.received_at).toFixed(1);
    const dice = (round.facts.estimated_dice ?? []).map((one) => (one === null ? "–" : one.toFixed(2))).join(" ");
    const canRetry = round.state === "refused" || round.state === "withdrawn";
    const name = round.case ? String(round.case.case_id) : "";
    return row(round.round_id, round.case?.task_id, url ? link(name, url) : name, round.number, state, moment(round.received_at),
      seconds, drawn(round.facts), dice, guidance(round),
      canRetry ? retryButton(round.round_id, "round") : "");
  }));
}

// What a button was told stays until the next button; what a look was told, until the next look.
function say(text, source) {
  if (text === "" && sayer !== source) return;
  sayer = source;
  if (place("message").textContent !== text) place("message").textContent = text;
}

function signIn() {
  sessionStorage.removeItem(KEY);
  place("node").hidden = true;
  place("sign-in").hidden = false;
  place("token").focus();
}

async function attempt(act, source) {
  try {
    await act();
    say("", source);
    return true;
  } catch (error) {
    if (error instanceof Unauthorized) {
      say(sessionStorage.getItem(KEY) ? "That is not this node's token." : "", source);
      signIn();
      return false;
    }
    say(error instanceof TypeError ? "The node does not answer; trying again." : error.message, source);
    return true;
  }
}

// Rows are made anew; who is in them with the keyboard stays where they are.
function keepingFocus(show) {
  const key = document.activeElement?.dataset?.key;
  show();
  if (key) document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

async function look() {
  if (looking) return;
  looking = true;
  clearTimeout(timer);
  const goOn = await attempt(async () => {
    const [status, rounds, jobs] = await Promise.all([
      ask("GET", "/api/status"), ask("GET", "/api/rounds?limit=100"), ask("GET", "/api/jobs?state=blocked&state=parked"),
    ]);
    place("sign-in").hidden = true;
    place("node").hidden = false;
    const now = JSON.stringify([status, rounds, jobs]);
    if (now === shown) return;
    shown = now;
    keepingFocus(() => {
      showState(status);
      showJobs(jobs);
      showRounds(rounds);
    });
  }, "look");
  looking = false;
  if (goOn && !document.hidden) timer = setTimeout(look, EVERY_MS);
}

place("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, place("token").value.trim());
  place("token").value = "";
  look();
});
place("training").addEventListener("click", async () => {
  const { path } = place("training").dataset;
  await attempt(() => ask("POST", path), "button");
  await look();
});
place("reconcile").addEventListener("click", () => attempt(() => ask("POST", "/api/reconcile"), "button"));
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
look();
