// Small pictures, loaded once they come into sight.
import { bitmap } from "./api.js";
import { link, make } from "./dom.js";
import { planeName } from "./format.js";

const waiting = new WeakMap();
const sight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    sight.unobserve(target);
    paint(target, waiting.get(target));
  }
}, { rootMargin: "200px" });

async function paint(canvas, path) {
  try {
    const image = await bitmap(path);
    canvas.width = image.width;
    canvas.height = image.height;
    canvas.getContext("2d").drawImage(image, 0, 0);
    canvas.dataset.state = "shown";
  } catch {
    canvas.dataset.state = "absent";
  }
}

const OVERLAYS = { answer: "outline", residual: "residual", guidance: "both" };
const NAMES = { answer: "answer", residual: "disagreement", guidance: "suggested slice" };

/** One picture of a round, as large as its place lets it be. */
export function picture(one, size) {
  const scale = size === "small" ? 1 : 2;
  const alt = `${NAMES[one.kind] ?? one.kind}, ${planeName(one.axis, one.index)}`;
  const canvas = make("canvas", { class: `picture ${size}`, role: "img", "aria-label": alt, title: alt });
  canvas.width = canvas.height = 1;
  waiting.set(canvas, `${one.path}?overlay=${OVERLAYS[one.kind] ?? "both"}&scale=${scale}`);
  sight.observe(canvas);
  return canvas;
}

/** A picture that opens the viewer at its slice, with what is said of it below. */
export function figure(one, key) {
  const name = planeName(one.axis, one.index);
  const said = one.kind === "guidance" ? `${name}: ${one.reason}` : `${NAMES[one.kind] ?? one.kind}, ${name}`;
  const caption = make("figcaption", {}, one.link
    ? link(said, one.link, { "data-key": key, title: "Open in the viewer" }) : said);
  const score = one.score === null || one.score === undefined ? "" : make("span", { class: "score" }, `worth ${one.score.toFixed(2)}`);
  if (score) caption.append(" (", score, ")");
  return make("figure", {}, picture(one, "large"), caption);
}
