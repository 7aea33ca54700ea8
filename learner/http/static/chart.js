// The learning curve of a task as plain SVG: what the network foresaw of each case, and what was drawn of it.
import { draw, make } from "./dom.js";
import { dice, moment, percent, plural } from "./format.js";

const WIDTH = 720;
const LEFT = 44;
const RIGHT = 8;
const UPPER = { top: 18, height: 150 };
const LOWER = { top: 200, height: 80 };
const HEIGHT = 312;
const MEAN_OF = 5;

const middle = (count, index) => LEFT + ((index + 0.5) * (WIDTH - LEFT - RIGHT)) / Math.max(count, 1);
const level = (panel, value, most) => panel.top + panel.height * (1 - value / most);

function grid(panel, most, name, steps) {
  const lines = steps.map((step) => {
    const y = level(panel, step * most, most);
    return [
      draw("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y }),
      draw("text", { class: "tick", x: LEFT - 6, y: y + 4, "text-anchor": "end" }, most === 1 ? (step * most).toFixed(1) : percent(step * most)),
    ];
  });
  return [...lines.flat(), draw("text", { class: "axis", x: LEFT, y: panel.top - 7 }, name)];
}

/** Mean of each case and those before it, up to so many that have a value. */
function runningMean(cases) {
  const seen = [];
  return cases.map((one) => {
    if (one.foresight === null) return null;
    seen.push(one.foresight);
    const latest = seen.slice(-MEAN_OF);
    return latest.reduce((sum, value) => sum + value, 0) / latest.length;
  });
}

function foresight(cases) {
  const means = runningMean(cases);
  const points = means.map((mean, index) => (mean === null ? null : `${middle(cases.length, index).toFixed(1)},${level(UPPER, mean, 1).toFixed(1)}`));
  const dots = cases.map((one, index) => one.foresight === null ? null : draw("circle", {
    class: "dot", cx: middle(cases.length, index), cy: level(UPPER, one.foresight, 1), r: cases.length > 80 ? 2 : 3.5,
  }, draw("title", {}, `Case ${one.case_id}, ${moment(one.drawn_at)}: Dice ${dice(one.foresight)} with ${one.version || "no version"}`)));
  return [draw("polyline", { class: "mean", points: points.filter(Boolean).join(" ") }), ...dots];
}

function effort(cases, most) {
  const width = Math.max(1, Math.min(14, (0.7 * (WIDTH - LEFT - RIGHT)) / cases.length));
  return cases.map((one, index) => one.share === null ? null : draw("rect", {
    class: "share", x: middle(cases.length, index) - width / 2, y: level(LOWER, one.share, most), width, height: (LOWER.height * one.share) / most,
  }, draw("title", {}, `Case ${one.case_id}: ${one.drawn} of ${one.slices} slices drawn (${percent(one.share)})`)));
}

/** The curve as a picture; the table below it has the same figures. */
export function learningChart(curve) {
  const { cases } = curve;
  const most = Math.max(0.1, ...cases.map((one) => one.share ?? 0));
  const steps = cases.length < 2 ? [0] : [0, cases.length - 1];
  const first = curve.total - cases.length + 1;
  const said = `Learning curve over ${plural(cases.length, "case")}. Network before it learned from a case: Dice ${dice(curve.foresight)} `
    + `over the latest cases. Slices drawn: ${percent(curve.first?.share)} of the first cases, ${percent(curve.latest?.share)} of the latest.`;
  return draw("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": said },
    ...grid(UPPER, 1, `Network alone on each case's first drawing, before learning from it (Dice); line: mean of ${MEAN_OF}`, [0, 0.5, 1]),
    ...foresight(cases),
    ...grid(LOWER, most, "Slices drawn, share of each case's series", [0, 1]),
    ...effort(cases, most),
    ...steps.map((index) => draw("text", { class: "tick", x: middle(cases.length, index), y: LOWER.top + LOWER.height + 16, "text-anchor": "middle" }, String(first + index))),
    draw("text", { class: "axis", x: (WIDTH + LEFT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, "cases in the order of their first drawing"));
}

const HEAD = ["Case", "First drawn", "Network before", "Version", "Rounds", "Slices drawn", "Share", "Of the structure", "Estimated Dice"];

/** The curve as a table, latest case first. */
export function learningTable(curve) {
  const rows = [...curve.cases].reverse().map((one) => make("tr", {}, ...[
    one.case_id, moment(one.drawn_at), dice(one.foresight), one.version || "none", one.rounds, one.drawn === null ? "no slices" : `${one.drawn} of ${one.slices}`,
    percent(one.share), one.structure && one.drawn !== null ? percent(Math.min(1, one.drawn / one.structure)) : percent(null), dice(one.estimated_dice),
  ].map((text) => make("td", { class: "number" }, String(text)))));
  return make("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Figures of the learning curve" },
    make("table", {}, make("thead", {}, make("tr", {}, ...HEAD.map((name) => make("th", { scope: "col" }, name)))), make("tbody", {}, ...rows)));
}
