// The companion panel: what the node makes of the study that is open in OHIF. OHIF's configuration file adds it to the page.
// It uses the address, /api/companion and, where OHIF offers them, the viewports; whatever is missing or changes, the panel
// does without, and is gone rather than in the way. Every text goes in by textContent.
import { jump, open, openSeries, openStudies, overlay, strokes } from "./companion-viewer.js";

const API = "/api/companion";
const SOON_MS = 1500, LATER_MS = 4000, LATEST_MS = 30000;
const STATES = {
  undrawn: ["Nothing drawn yet", "quiet"], waiting: ["Waits for images", "wait"], answering: ["Answering …", "wait"],
  answered: ["Answered", "good"], unchanged: ["Nothing new in the drawing", "good"],
  refused: ["Not understood", "bad"],
};
const state = {
  studies: [], views: [], shown: "", failures: 0, timer: 0, turn: 0, message: "", asking: null, marked: new Map(), busy: false,
  newest: 0, strokes: null, signedOut: false, away: false,
};

// ---- small helpers -----------------------------------------------------------------------------------------------------
const kept = (key, value) => {
  try {
    if (value === undefined) return localStorage.getItem(`apprentice-companion-${key}`);
    localStorage.setItem(`apprentice-companion-${key}`, value);
  } catch { /* storage may be closed to us */ }
  return null;
};
const guarded = (act) => (...given) => {
  try {
    return act(...given);
  } catch (error) {
    console.debug("companion panel", error);
    return undefined;
  }
};
const later = (act, ms) => setTimeout(guarded(act), ms);

function make(name, { text = "", kind = "", ...attributes } = {}, ...children) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  if (kind) made.className = kind;
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

function button(text, key, act, { kind = "", label, disabled = false, pressed } = {}) {
  const made = make("button", { text, kind, type: "button", "data-key": key, "aria-label": label, "aria-pressed": pressed });
  made.disabled = disabled || state.busy;
  made.addEventListener("click", guarded(act));
  return made;
}

async function ask(path, body) {
  const headers = { Accept: "application/json" };
  let token = null;
  try { token = sessionStorage.getItem("apprentice-token"); } catch { /* closed to us */ }
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(API + path, {
    method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), cache: "no-store", credentials: "same-origin",
  });
  const content = await response.json().catch(() => null);
  if (response.ok && content) return content;
  throw Object.assign(new Error([content?.detail, content?.remedy].filter(Boolean).join(". ")), { status: response.status });
}

// ---- where the reader goes --------------------------------------------------------------------------------------------
async function goTo(study, one, next) {
  const there = await jump(next.sop_instance_uid, next.frame_number).catch(() => false);
  if (!there) leaving(one, () => open([study, ...state.studies], one.series_instance_uid, next.sop_instance_uid));
}

// Another page begins: what was drawn and not saved would be lost with this one.
function leaving(one, go) {
  if (state.strokes?.unsaved()) question(one, "What you drew and did not save is lost. Go all the same?", "Go", go);
  else go();
}

// ---- what the reader says ----------------------------------------------------------------------------------------------
function question(one, text, yes, act) {
  state.asking = { of: one.case_id, text, yes, act };
  state.message = "";
  render();
  root.querySelector('[data-key="yes"]')?.focus();
  root.querySelector(".asked")?.scrollIntoView({ block: "nearest" });
}

async function say(path, body, done) {
  state.busy = true;
  state.asking = null;
  render();
  try {
    await ask(path, body);
    state.message = done;
  } catch (error) {
    state.message = error.message || "The node does not answer. Try again.";
  }
  state.busy = false;
  render();
  await look();
}

const accept = (one, slices, done) =>
  say(`/cases/${one.case_id}/accept`, { round_id: one.answer.round_id, ...(slices && { slices }) }, done);

// ---- what is shown -----------------------------------------------------------------------------------------------------
const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
const volume = (ml) => (ml === null ? "–" : `${ml.toFixed(ml < 10 ? 2 : ml < 100 ? 1 : 0)}`);

// Readers know no UIDs; what is wrong comes after the colon.
const words = (reason) => reason.replace(/^(object|instance|series) [0-9.]+: (.)/, (_all, _kind, first) => first.toUpperCase());

function structures(answer) {
  const prior = answer.structures.some((one) => one.prior_volume_ml !== null);
  const head = ["", "ml", ...(prior ? ["prior ml"] : []), "est. Dice"].map((text) => make("th", { text, scope: "col" }));
  const rows = answer.structures.map((one) => {
    const swatch = make("span", { kind: "swatch", "aria-hidden": "true" });
    swatch.style.background = /^#[0-9a-f]{6}$/.test(one.colour) ? one.colour : "transparent";
    const change = one.prior_volume_ml && one.volume_ml !== null ? 100 * (one.volume_ml / one.prior_volume_ml - 1) : null;
    const before = make("td", { text: volume(one.prior_volume_ml) });
    if (change !== null) before.append(make("small", { text: ` ${change < 0 ? "−" : "+"}${Math.abs(change).toFixed(0)} %` }));
    const dice = one.estimated_dice === null ? "–" : one.estimated_dice.toFixed(2);
    return make("tr", {}, make("th", { scope: "row" }, swatch, one.name), make("td", { text: volume(one.volume_ml) }),
      prior ? before : null, make("td", { text: dice }));
  });
  return make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
}

function nextSlices(study, one, quiet) {
  const answer = one.answer;
  if (answer.next_slices.length === 0) {
    const all = answer.drawn.length + answer.accepted.length >= answer.slices;
    const text = all ? "Every slice is drawn or accepted." : "More drawing would change little.";
    return make("p", { kind: "quiet", text });
  }
  const marks = marksOf(one);
  const rows = answer.next_slices.map((next) => {
    const name = `${["Slice", "Row plane", "Column plane"][next.axis] ?? "Plane"} ${next.index + 1}`;
    const key = `${one.case_id}-${next.axis}-${next.index}`;
    const place = next.sop_instance_uid
      ? button(name, `next-${key}`, () => goTo(study, one, next), { kind: "slice", label: `Go to ${name}: ${next.reason}` })
      : make("span", { kind: "slice", text: name });
    const mark = next.axis === 0 && next.sop_instance_uid
      ? button("✓", `mark-${key}`, () => {
        marks[marks.has(next.index) ? "delete" : "add"](next.index);
        render();
      }, { kind: "mark", label: `${name} is right as it is shown`, pressed: String(marks.has(next.index)), disabled: quiet })
      : null;
    return make("li", {}, place, make("span", { kind: "reason", text: next.reason }), mark);
  });
  const title = answer.enough ? "Draw next (little would be gained)" : "Draw next, or tick what is right";
  return make("div", {}, make("h3", { text: title }), make("ol", {}, ...rows));
}

function marksOf(one) {
  const key = `${one.case_id}-${one.answer.round_id}`;
  if (!state.marked.has(key)) state.marked.set(key, new Set());
  return state.marked.get(key);
}

function says(one, quiet) {
  const row = make("div", { kind: "says" }), answer = one.answer, last = one.last_drawing;
  if (answer && answer.drawn.length + answer.accepted.length < answer.slices) {
    const marks = [...marksOf(one)].sort((a, b) => a - b);
    if (marks.length > 0) {
      const text = `Accept ${count(marks.length, "slice")}`;
      const act = () => accept(one, marks, `${count(marks.length, "slice")} accepted.`);
      row.append(button(text, `accept-${one.case_id}`, act, { kind: "first", disabled: quiet }));
    }
    row.append(button("Accept whole answer", `accept-all-${one.case_id}`, () => question(one,
      `Is the answer right on all ${answer.slices} slices, empty ones included?`, "Accept all",
      () => accept(one, null, "The whole answer is accepted.")), { disabled: quiet }));
  }
  if (last?.may_withdraw) {
    const what = last.accepted ? "acceptance" : "drawing";
    row.append(button(`Withdraw my last ${what}`, `withdraw-${one.case_id}`, () => question(one,
      `The ${what} of ${clock(last.received_at)} (${count(last.planes, "slice")}) shall count no more?`, "Withdraw",
      () => say(`/cases/${one.case_id}/withdraw`, { round_id: last.round_id }, "Withdrawn.")), { kind: "plain", disabled: quiet }));
  }
  return row;
}

function asked(one) {
  if (state.asking?.of !== one.case_id) return null;
  const { text, yes, act } = state.asking;
  const close = () => { state.asking = null; render(); };
  return make("div", { kind: "asked", role: "group", "aria-label": text }, make("p", { text }),
    button(yes, "yes", () => { close(); act(); }, { kind: "first" }), button("Cancel", "no", close));
}

function aCase(study, one) {
  const [text, kind] = STATES[one.state] ?? [one.state, "quiet"], answer = one.answer;
  const quiet = one.state === "answering" || one.state === "waiting";
  const box = make("section", { "aria-label": one.title });
  box.append(make("h2", {}, make("span", { kind: `dot ${kind}`, "aria-hidden": "true" }), one.title,
    state.views.flatMap((view) => view.cases).length > 1 ? make("span", { kind: `state ${kind}`, text }) : null));
  if (one.reason) box.append(make("p", { kind: `told ${kind}`, text: words(one.reason) }));
  if (one.state === "undrawn") box.append(make("p", { kind: "quiet", text: "Draw it on three to five slices and save." }));
  if (answer) {
    const accepted = answer.accepted.length > 0 ? `, ${answer.accepted.length} accepted` : "";
    const drawn = `${answer.drawn.length} of ${answer.slices} drawn${accepted}`;
    box.append(make("p", { kind: "quiet", text: `${drawn} · round ${answer.number}, ${answer.seconds.toFixed(1)} s` }));
    box.append(make("div", { kind: "shows" }, ...shows(study, one, quiet)), structures(answer), nextSlices(study, one, quiet));
    if (answer.remarks.length > 0) {
      const list = make("ul", {}, ...answer.remarks.map((remark) => make("li", { text: remark })));
      const summary = make("summary", { text: count(answer.remarks.length, "remark"), "data-key": `remarks-${one.case_id}` });
      box.append(make("details", {}, summary, list));
    }
  }
  box.append(asked(one) ?? says(one, quiet));
  return box;
}

function shows(study, one, quiet) {
  const { prediction_series_uid: prediction, residual_series_uid: residual } = one.answer, now = openSeries();
  const to = (text, key, kind, go) => button(text, `${key}-${one.case_id}`, () => leaving(one, go), { kind });
  const laid = (series) => () => overlay([study, ...state.studies], series);
  const prior = state.studies.includes(one.prior_study_uid) ? "" : one.prior_study_uid;
  const beside = () => open([study, ...state.studies, prior], prediction || one.series_instance_uid);
  return [
    prediction && prediction !== now ? to("Show the answer", "show", quiet ? "" : "first", laid(prediction)) : null,
    prediction && prediction === now ? make("span", { kind: "quiet", text: "The answer is shown." }) : null,
    residual && residual !== now ? to("Where it is unsure", "unsure", "plain", laid(residual)) : null,
    prior ? to("Prior study beside it", "prior", "plain", beside) : null,
  ].filter(Boolean);
}

function aNotice(one) {
  const refused = one.state === "refused";
  const text = refused ? "Not understood. " : one.state === "waiting" ? "Waits. " : "A drawing is being read … ";
  return make("p", { kind: `told ${refused ? "bad" : "wait"}` }, make("strong", { text }), words(one.reason));
}

function summary() {
  const cases = state.views.flatMap((view) => view.cases), notices = state.views.flatMap((view) => view.notices);
  if (state.away) return ["The node does not answer", "quiet"];
  if (state.signedOut) return ["Not signed in", "quiet"];
  if (notices.some((one) => one.state === "queued") || cases.some((one) => one.state === "answering")) return STATES.answering;
  if (notices.some((one) => one.state === "refused")) return STATES.refused;
  const fresh = cases.find((one) => one.state === "answered" && one.answer?.prediction_series_uid !== openSeries());
  if (fresh) return ["The answer is there", "good"];
  return STATES[cases[0]?.state] ?? ["No task for this study", "quiet"];
}

function content() {
  if (state.signedOut) {
    const link = make("a", { href: "/", text: "Sign in" });
    return [make("p", { kind: "quiet" }, link, " to see what the node makes of this study.")];
  }
  const nothing = state.views.every((view) => view.cases.length === 0 && view.notices.length === 0);
  return [
    ...state.views.filter((view) => view.archive_error).map((view) => make("p", { kind: "told bad", text: view.archive_error })),
    ...state.views.flatMap((view) => view.notices.map(aNotice)),
    ...state.views.flatMap((view) => view.cases.map((one) => aCase(view.study_instance_uid, one))),
    nothing && !state.away ? make("p", { kind: "quiet", text: "No series of this study belongs to a task of the node." }) : "",
    state.message ? make("p", { kind: "message", text: state.message }) : "",
    make("footer", { text: "Research use only; not a medical device." }),
  ];
}

// ---- the panel ---------------------------------------------------------------------------------------------------------
const host = make("div", { id: "apprentice-companion" });
host.style.cssText = "all: initial; position: fixed; z-index: 45; bottom: 8px; display: none;";
const root = host.attachShadow({ mode: "open" });
const panel = make("aside", { "aria-label": "PACS Apprentice" });
const live = make("p", { kind: "live", role: "status", "aria-live": "polite" });
const sheet = make("link", { rel: "stylesheet", href: new URL("companion.css", import.meta.url).href });
root.append(sheet, panel, live);
// Keys and wheel of the panel are not the viewer's: Space would play the stack.
for (const name of ["keydown", "keyup", "keypress", "wheel", "pointerdown", "mousedown", "contextmenu"]) {
  host.addEventListener(name, (event) => event.stopPropagation());
}

function render() {
  const focused = root.activeElement?.dataset?.key, scrolled = root.querySelector(".body")?.scrollTop ?? 0;
  const closed = kept("closed") === "yes", left = kept("side") !== "right"; // OHIF's tools are on the right
  const [text, kind] = summary();
  const toggle = button("", "toggle", () => { kept("closed", closed ? "no" : "yes"); render(); }, { kind: "toggle" });
  toggle.disabled = false;
  toggle.setAttribute("aria-expanded", String(!closed));
  toggle.append(make("span", { kind: `dot ${kind}`, "aria-hidden": "true" }), make("strong", { text: "Apprentice" }),
    make("span", { kind: `state ${kind}`, text }),
    make("span", { kind: "chevron", text: closed ? "▴" : "▾", "aria-hidden": "true" }));
  const side = button(left ? "⇥" : "⇤", "side", () => { kept("side", left ? "right" : "left"); render(); },
    { kind: "side", label: `Move the panel to the ${left ? "right" : "left"}` });
  const body = closed ? "" : make("div", { kind: "body", tabindex: "-1" }, ...content());
  panel.replaceChildren(make("header", {}, toggle, side), body);
  panel.className = closed ? "closed" : "";
  host.style.left = left ? "6px" : "auto";
  host.style.right = left ? "auto" : "6px";
  if (live.textContent !== text) live.textContent = text;
  if (body) body.scrollTop = scrolled;
  if (focused) root.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

host.addEventListener("keydown", guarded((event) => {
  if (event.key !== "Escape") return;
  if (state.asking) state.asking = null;
  else kept("closed", "yes");
  render();
  root.querySelector('[data-key="toggle"]')?.focus();
}));

// ---- looking -----------------------------------------------------------------------------------------------------------
function isMoving(view) {
  return [...view.cases, ...view.notices].some((one) => ["answering", "waiting", "queued"].includes(one.state));
}

// A drawing that the node did not know before: it was saved.
function hear(views) {
  const drawings = views.flatMap((view) => view.cases).map((one) => one.last_drawing).filter((last) => last && !last.accepted);
  const newest = Math.max(0, ...[...drawings, ...views.flatMap((view) => view.notices)].map((one) => one.round_id));
  if (newest > state.newest) state.strokes?.saved();
  state.newest = newest;
}

async function look() {
  const turn = ++state.turn;
  clearTimeout(state.timer);
  if (state.studies.length === 0 || document.hidden) return;
  let pause = LATER_MS;
  try {
    const views = await Promise.all(state.studies.map((uid) => ask(`/studies/${uid}`)));
    if (turn !== state.turn) return;
    if (!views.every((view) => Array.isArray(view.cases) && Array.isArray(view.notices))) return remove();
    Object.assign(state, { failures: 0, signedOut: false, away: false, views });
    if (views.some(isMoving)) pause = SOON_MS;
    hear(views);
  } catch (error) {
    if (turn !== state.turn) return;
    state.failures += 1;
    if (error.status === 404) return remove(); // this server has no such API
    state.signedOut = error.status === 401 || error.status === 403;
    state.away = !state.signedOut && state.failures > 2;
    pause = Math.min(LATEST_MS, SOON_MS * 2 ** state.failures);
  }
  const known = state.views.length > 0 || state.signedOut;
  const now = JSON.stringify([state.views, state.signedOut, state.away, openSeries()]);
  if (known && now !== state.shown) {
    state.shown = now;
    if (!state.busy) guarded(render)();
  }
  host.style.display = known ? "block" : "none";
  state.timer = later(look, pause);
}

function remove() {
  clearTimeout(state.timer);
  state.studies = [];
  host.remove();
}

const follow = guarded(() => {
  const studies = openStudies();
  if (studies.join() === state.studies.join()) return;
  Object.assign(state, { studies, views: [], shown: "", message: "", asking: null, failures: 0, away: false });
  host.style.display = "none";
  look();
});

function followAddress() {
  for (const name of ["pushState", "replaceState"]) {
    const original = history[name];
    history[name] = function (...given) {
      const result = original.apply(this, given);
      queueMicrotask(follow);
      return result;
    };
  }
  window.addEventListener("popstate", follow);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
}

guarded(() => {
  sheet.addEventListener("error", remove);
  document.body.append(host);
  state.strokes = guarded(strokes)();
  followAddress();
  follow();
})();
