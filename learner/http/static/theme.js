// Dark unless a person chooses otherwise: browsers say "light" where nobody chose, which dazzles in a reading room.
import { place } from "./dom.js";

const KEY = "apprentice-colours";

function apply(theme) {
  document.documentElement.dataset.theme = theme;
  place("theme").value = theme;
}

export function startTheme() {
  apply(["dark", "light", "system"].find((one) => one === localStorage.getItem(KEY)) ?? "dark");
  place("theme").addEventListener("change", (event) => {
    localStorage.setItem(KEY, event.target.value);
    apply(event.target.value);
  });
}
