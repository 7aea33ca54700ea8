// Numbers and times as people read them.
export const NOTHING = "–";

export const percent = (share) => (share === null || share === undefined ? NOTHING : `${Math.round(100 * share)} %`.replace("-", "\u2212"));
export const dice = (value) => (value === null || value === undefined ? NOTHING : value.toFixed(2));
export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

export function bytes(size) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let [value, unit] = [size, 0];
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** A moment: of today its time, of another day its date, too. */
export function moment(seconds) {
  if (seconds === null || seconds === undefined) return NOTHING;
  const then = new Date(seconds * 1000);
  const time = then.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  if (then.toDateString() === new Date().toDateString()) return time;
  return `${then.toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" })}, ${time.slice(0, 5)}`;
}

export const duration = (seconds) => (seconds < 100 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds / 60)} min`);

const AXES = ["slice", "row plane", "column plane"];
export const planeName = (axis, index) => `${AXES[axis] ?? "plane"} ${index + 1}`;
export const siteName = (site) => (site ? `site ${site.slice(0, 8)}` : "unknown site");
