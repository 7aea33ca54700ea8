// The node's page: waits for word of a change, then asks for what it shows. It goes on by itself when the node was away.
import { Unauthorized, ask, token } from "./api.js";
import { offerTasks, showCases, startCases } from "./cases.js";
import { place } from "./dom.js";
import { showModels } from "./models.js";
import { showResources, showState, showTrouble } from "./node.js";
import { showTasks } from "./tasks.js";
import { startTheme } from "./theme.js";

const WAIT_S = 4; // longest wait for a change; after it, what no record tells is asked for: processors, the archive
const AGAIN_MS = 1000;
let known = -1;
let running = false;
let latest = "";
let sayer = "";

const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** Makes of a task one that runs once at a time; who asks for it while it runs has it run once more. */
function oneAtATime(task) {
  let under = null, more = false;
  const loop = async () => {
    do {
      more = false;
      await task();
    } while (more);
  };
  return () => {
    more = under !== null;
    under ??= loop().finally(() => { under = null; });
    return under;
  };
}

// What a button was told stays until it is dismissed or a button does better; what a look was told, until the next look.
function say(text, source) {
  if (text === "" && sayer !== source) return;
  sayer = text ? source : "";
  place("problem").hidden = text === "";
  if (place("message").textContent !== text) place("message").textContent = text;
}

function live(text, state) {
  if (place("live").textContent !== text) place("live").textContent = text;
  place("live").dataset.state = state;
}

/** Where people sign in by name, the server sends whoever is nobody from the page to its form; elsewhere a token is asked for. */
async function goesToForm() {
  const page = await fetch("/", { headers: { Accept: "text/html" }, redirect: "manual", cache: "no-store" });
  return page.type === "opaqueredirect";
}

async function signIn() {
  if (!token.has() && await goesToForm()) {
    location.assign(`/sign-in?next=${encodeURIComponent(location.pathname)}`);
    return;
  }
  if (token.has()) say("That is not this node's token.", "look");
  token.forget();
  live("Signed out", "off");
  place("node").hidden = true;
  if (place("sign-in").hidden) {
    place("sign-in").hidden = false;
    place("token").focus();
  }
}

/** Does something and says what goes wrong; gives whether it went well. */
async function attempt(act, source) {
  try {
    await act();
    say("", source);
    return true;
  } catch (error) {
    if (error instanceof Unauthorized) await signIn();
    else if (error instanceof TypeError && source === "look") live("The node does not answer; trying again", "off");
    else say(error instanceof TypeError ? "The node does not answer. Try again once it is back." : error.message, source);
    return false;
  }
}

function announce(page) {
  const [first] = page.cases;
  const now = first ? `Case ${first.case_id}, round ${first.number ?? first.round_id}: ${first.state}` : "";
  if (latest && now !== latest) place("news").textContent = now;
  latest = now || latest;
}

const retry = (round) => act(`/api/rounds/${round}/retry`);

/** The cases: what an eye looks for first is asked for first. */
async function cases() {
  announce(await showCases());
  place("sign-in").hidden = true;
  place("node").hidden = false;
}

/** What else is recorded. */
const others = oneAtATime(async () => {
  const [status, trouble] = await Promise.all([ask("GET", "/api/status"), ask("GET", "/api/overview/trouble")]);
  offerTasks(status.tasks);
  showState(status);
  showTrouble(trouble, retry);
  await Promise.all([showTasks(status.tasks), showModels(act)]);
});

async function all() {
  await cases();
  await others();
}

async function showUser() {
  const me = await ask("GET", "/api/me");
  const { name } = me;
  const byItself = me.is_person || name === ""; // what a link opens carries no token
  document.documentElement.toggleAttribute("data-audits", byItself && ["operator", "admin"].includes(me.role));
  place("user").textContent = name;
  place("user").href = "/sign-in?next=/"; // it offers to sign out
  place("user").hidden = name === "";
}

/** What no record tells. */
async function unrecorded() {
  const [status, found] = await Promise.all([ask("GET", "/api/status"), ask("GET", "/api/resources")]);
  showState(status);
  showResources(found);
}

/** What a button does: asks the node (where there is something to ask), then shows what became of it. */
async function act(path) {
  await attempt(async () => { if (path) await ask("POST", path); }, "button");
  await attempt(all, "look");
}

async function turn() {
  if (known < 0) {
    await all();
    await Promise.all([unrecorded(), showUser()]);
    known = 0; // something may have changed meanwhile: the next look tells
  } else {
    const { revision } = await ask("GET", `/api/changes?after=${known}&wait_s=${WAIT_S}`);
    if (revision === known) await unrecorded();
    else {
      await cases();
      attempt(others, "look").then((well) => { if (!well) known = -1; }); // the next change is not kept waiting
    }
    known = revision;
  }
  live("Live", "on");
}

async function watch() {
  if (running) return;
  running = true;
  while (!document.hidden && place("sign-in").hidden) {
    if (!await attempt(turn, "look")) {
      known = -1;
      await sleep(AGAIN_MS);
    }
  }
  if (place("sign-in").hidden) live("Resting", "off");
  running = false;
}

startTheme();
startCases(() => attempt(showCases, "button"));
place("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set(place("token").value.trim());
  place("token").value = "";
  place("sign-in").hidden = true;
  watch();
});
place("training").addEventListener("click", () => act(place("training").dataset.path));
place("reconcile").addEventListener("click", () => act("/api/reconcile"));
place("dismiss").addEventListener("click", () => say("", sayer));
document.addEventListener("visibilitychange", () => watch());
watch();
