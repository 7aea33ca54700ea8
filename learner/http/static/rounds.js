// The rounds of one case, newest first, with the pictures of each and the slices to draw next.
import { badge, link, make } from "./dom.js";
import { dice, duration, moment, percent, planeName } from "./format.js";
import { figure } from "./picture.js";

/** What a reader did with the answer. */
const reaction = ({ kind, share, slices }) => (share ? `${kind}, ${percent(share)} on ${slices} slices` : kind);

function told(round) {
  const { facts } = round;
  const parts = [
    ["Received", moment(round.received_at)],
    ["Answered in", round.answered_at === null ? "" : duration(round.answered_at - round.received_at)],
    ["Drawn slices", Array.isArray(facts.drawn_slices) && facts.slices ? `${facts.drawn_slices.length} of ${facts.slices}` : ""],
    ["Estimated Dice", (facts.estimated_dice ?? []).map(dice).join(" ")],
    ["Network alone", (facts.foresight ?? []).map(dice).join(" ")],
    ["Volume", Object.entries(facts.volumes_ml ?? {}).map(([name, ml]) => `${name} ${ml.toFixed(1)} ml`).join(", ")],
    ["Version", round.checkpoint],
    ["Reader", round.reader],
    ["Then", Object.values(facts.reactions ?? {}).map(reaction).join(", ")],
  ];
  return make("dl", { class: "facts" }, ...parts.filter(([, text]) => text).map(([name, text]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, text))));
}

/** Pictures as the round's own facts name them; links and reasons of the latest answer come from the node. */
function picturesOf(round) {
  return (round.facts.pictures ?? []).map((one, place) => ({ ...one, path: `/api/rounds/${round.round_id}/pictures/${place}`, link: "", reason: "" }));
}

function guidance(round, pictures) {
  const wanted = pictures.filter((one) => one.kind === "guidance");
  const named = (round.facts.guidance ?? []).map((one) => `${planeName(one.axis, one.index)}: ${one.reason}`);
  if (wanted.length === 0 && named.length === 0) return round.facts.enough ? make("p", { class: "reason" }, "Enough is drawn.") : null;
  const title = round.facts.enough ? "Draw next (little would be gained)" : "Draw next";
  const content = wanted.length ? make("div", { class: "pictures" }, ...wanted.map((one, rank) => figure(one, `guide-${round.round_id}-${rank}`)))
    : make("ol", {}, ...named.map((text) => make("li", {}, text)));
  return make("div", {}, make("h5", {}, title), content);
}

function entry(round, linked, newest) {
  const pictures = linked?.round_id === round.round_id ? linked.pictures : picturesOf(round);
  const results = pictures.filter((one) => one.kind !== "guidance");
  const name = round.number === null ? `Round record ${round.round_id}` : round.number === 0 ? "Before anything was drawn" : `Round ${round.number}`;
  return make("li", {},
    make("h4", {}, name, " ", badge(round.state), link("Audit record", `/api/audit/rounds/${round.round_id}`, { class: "audit" })),
    round.reason ? make("p", { class: "reason" }, round.reason) : null,
    told(round),
    ...(round.facts.remarks ?? []).map((text) => make("p", { class: "reason" }, text)),
    results.length ? make("div", { class: "pictures" }, ...results.map((one, rank) => figure(one, `picture-${round.round_id}-${rank}`))) : null,
    newest ? guidance(round, pictures) : null);
}

/** @param detail a case with its rounds; @param linked the pictures of its latest answer, with links */
export function roundList(detail, linked) {
  const newest = detail.rounds.find((round) => round.state === "computed" || round.state === "answered");
  return make("ol", { class: "rounds" }, ...detail.rounds.map((round) => entry(round, linked, round === newest)));
}
