// Versions of each model with the gate's verdict, rollback, and what the replay memory holds.
import { ask } from "./api.js";
import { confirmed } from "./confirm.js";
import { badge, bar, button, make, place, show } from "./dom.js";
import { bytes, dice, moment, plural, siteName } from "./format.js";

const FEW = 8;
const MORE = 50;
const limits = new Map();
const VERSION_HEAD = ["Version", "State", "Steps", "Made", "The gate", "Dice on held cases", "Action"];
const MEMORY_HEAD = ["Task", "Site", "Cases", "Readers", "On disk", "Held back for the gate"];

const head = (names) => make("thead", {}, make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name))));

function verdict(one) {
  const { reason, cases, slices } = one.gate;
  if (!reason) return make("td", { class: "reason" }, "not judged yet: no held drawing was at hand");
  return make("td", {}, reason, cases ? make("div", { class: "reason" }, `${plural(cases, "case")}, ${plural(slices, "drawn slice")}`) : null);
}

/** Of each label over all sites: this version, and the one that served when it was judged. */
function figures(one) {
  const overall = (one.gate.figures ?? []).filter((figure) => !figure.site);
  return make("td", { class: "number" }, ...overall.map((figure) => make("div", {},
    `${overall.length > 1 ? `${figure.task_id} ${figure.label}: ` : ""}${dice(figure.candidate)}${figure.serving === null ? "" : ` (served ${dice(figure.serving)})`}`)));
}

function rollback(model, one, serving, act) {
  if (!one.kept) return make("td", { class: "reason" }, "file not kept");
  if (one.name === serving?.name) return make("td", {}, one.pinned ? make("span", { class: "reason" }, "chosen by a person") : null);
  const refused = one.gate.reason && !one.gate.serve ? ` The gate did not let it serve: ${one.gate.reason}.` : "";
  const back = serving && one.number < serving.number;
  const go = async () => {
    const answer = await confirmed({
      title: `Let ${one.name} serve?`,
      text: `${serving ? `${serving.name} is taken back, and ${one.name}` : one.name} answers from now on, until a later version is clearly better. `
        + `Answers that were given stay as they are.${refused}`,
      yes: `Let ${one.name} serve`,
      option: "Training goes on from it, too; what later versions learned is given up",
    });
    if (answer) await act(`/api/models/${encodeURIComponent(model)}/rollback?version=${encodeURIComponent(one.name)}&retrain=${answer.option}`);
  };
  return make("td", {}, button(back ? "Roll back to this" : "Let it serve", `roll-back-${one.name}`, go, { "aria-label": back ? `Roll back to ${one.name}` : `Let ${one.name} serve` }));
}

function table([model, versions], act) {
  const title = make("h3", {}, model.model_id, " ", make("small", {}, model.tasks.length > 1 ? `shared by ${model.tasks.join(", ")}` : ""));
  if (versions.length === 0) return [title, make("p", { class: "empty" }, "No version yet: the first is trained from the first answered annotation.")];
  const rows = versions.map((one) => make("tr", { "data-version": one.name }, make("td", {}, one.name), make("td", {}, badge(one.state), one.from_forgotten ? make("div", { class: "reason" }, "learned from a forgotten study") : null),
    make("td", { class: "number" }, String(one.steps)), make("td", { class: "number" }, moment(one.created_at)), verdict(one), figures(one),
    rollback(model.model_id, one, model.serving, act)));
  const known = limits.get(model.model_id) ?? FEW;
  const more = versions.length < known ? null : button("Show more versions", `more-${model.model_id}`, async () => {
    limits.set(model.model_id, known + MORE);
    await act("");
  });
  return [title, make("div", { class: "scroll" }, make("table", {}, head(VERSION_HEAD), make("tbody", {}, ...rows))), more];
}

function remembered(found) {
  const title = make("h3", {}, found.model_id);
  if (found.groups.length === 0) return [title, make("p", { class: "empty" }, "Nothing is remembered yet.")];
  const rows = found.groups.map((one) => make("tr", {}, make("td", {}, one.task_id), make("td", {}, siteName(one.site)),
    ...[one.cases, one.readers || "not known", bytes(one.size), one.held].map((text) => make("td", { class: "number" }, String(text)))));
  const used = `${bytes(found.size)} of ${bytes(found.capacity)}${found.version ? `, after ${found.version}` : ""}`;
  return [title, make("div", { class: "measure" }, make("span", { class: "name" }, "In use"), bar(found.size / found.capacity), make("span", { class: "said" }, used)),
    make("div", { class: "scroll" }, make("table", {}, head(MEMORY_HEAD), make("tbody", {}, ...rows)))];
}

/** Asks for the versions and the memory of each model and shows them; `act` does what a button says, and looks again. */
export async function showModels(act) {
  const models = await ask("GET", "/api/models");
  const path = (model, part) => `/api/models/${encodeURIComponent(model.model_id)}/${part}`;
  const [versions, memories] = await Promise.all([
    Promise.all(models.map((model) => ask("GET", path(model, `versions?limit=${limits.get(model.model_id) ?? FEW}`)))),
    Promise.all(models.map((model) => ask("GET", path(model, "memory")))),
  ]);
  show(place("versions"), models.map((model, index) => [model, versions[index]]), (pairs) => pairs.flatMap((pair) => table(pair, act)));
  show(place("memory"), memories, (found) => found.flatMap(remembered));
}
