// Requests to the node. A token, where one is asked for, lives no longer than the tab; a signed-in browser's cookie goes by itself.
const KEY = "apprentice-token";
const KEPT_PICTURES = 400;
const pictures = new Map();

export class Unauthorized extends Error {}

/** The node says what is wrong, and what to do about it. */
export class Refused extends Error {
  constructor(problem) {
    super([problem.detail || problem.title, problem.remedy].filter(Boolean).join(". ").replaceAll("..", "."));
  }
}

export const token = {
  has: () => Boolean(sessionStorage.getItem(KEY)),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

async function request(method, path) {
  const given = sessionStorage.getItem(KEY);
  const headers = given ? { Authorization: `Bearer ${given}` } : {};
  const response = await fetch(path, { method, headers, cache: "no-store", credentials: "same-origin" });
  if (response.status === 401) throw new Unauthorized();
  if (!response.ok) throw new Refused(await response.json().catch(() => ({ title: `The node answered ${response.status}` })));
  return response;
}

export const ask = async (method, path) => (await request(method, path)).json();

/** A picture of the node, decoded; asked for once. An image element could not carry the token. */
export function bitmap(path) {
  if (!pictures.has(path)) {
    if (pictures.size >= KEPT_PICTURES) pictures.delete(pictures.keys().next().value);
    const found = request("GET", path).then((response) => response.blob()).then((blob) => createImageBitmap(blob));
    found.catch(() => pictures.delete(path));
    pictures.set(path, found);
  }
  return pictures.get(path);
}
