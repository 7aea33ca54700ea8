// Elements from text. Every text goes in as text: descriptions come from DICOM objects, and may hold anything.
const SVG = "http://www.w3.org/2000/svg";
const PLAIN = new Set(["class", "colspan", "id", "role", "scope", "tabindex", "title", "type", "value"]);
const DRAWN = new Set(["class", "cx", "cy", "d", "height", "points", "r", "role", "rx", "text-anchor", "transform", "viewBox",
  "width", "x", "x1", "x2", "y", "y1", "y2"]);

export const place = (id) => document.getElementById(id);

function fill(made, allowed, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (!allowed.has(name) && !name.startsWith("aria-") && !name.startsWith("data-")) throw new TypeError(`attribute ${name}`);
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** An HTML element; children that are no nodes become text. */
export const make = (name, attributes = {}, ...children) => fill(document.createElement(name), PLAIN, attributes, children);

/** An SVG element. */
export const draw = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), DRAWN, attributes, children);

/** A link that opens beside the page; its text alone where the address is none of the web. */
export function link(text, address, attributes = {}) {
  const url = address ? new URL(address, location.href) : null;
  if (!url || !["http:", "https:"].includes(url.protocol)) return make("span", {}, text);
  const made = make("a", attributes, text);
  made.href = url.href;
  made.target = "_blank";
  made.rel = "noopener noreferrer";
  return made;
}

/** A button; what it is stays known by its key when the rows around it are made anew. */
export function button(text, key, act, attributes = {}) {
  const made = make("button", { type: "button", "data-key": key, ...attributes }, text);
  made.addEventListener("click", async () => {
    made.disabled = true;
    try {
      await act();
    } finally {
      made.disabled = false;
      if (document.activeElement === document.body) refocus(key);
    }
  });
  return made;
}

export const badge = (state) => make("span", { class: `badge ${state}` }, state);

/** A bar from 0 to 1; the number beside it says the same. */
export function bar(share, kind = "") {
  const inner = make("span", { class: `filled ${kind}` });
  inner.style.width = `${Math.round(100 * Math.min(1, Math.max(0, share)))}%`;
  return make("span", { class: "bar", "aria-hidden": "true" }, inner);
}

function refocus(key) {
  if (key) document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

const shown = new WeakMap();

/** Shows what `drawing` makes of `data`, if that changed; who is in it with the keyboard stays where they are. */
export function show(container, data, drawing) {
  const now = JSON.stringify(data);
  if (shown.get(container) === now) return;
  shown.set(container, now);
  const key = container.contains(document.activeElement) ? document.activeElement.dataset.key : "";
  container.replaceChildren(...drawing(data).filter(Boolean));
  refocus(key);
}
