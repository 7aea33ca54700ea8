// A question that is answered before something happens; Escape says no.
import { place } from "./dom.js";

/**
 * Asks; gives null for no, else what was chosen.
 * @param {{title: string, text: string, yes: string, option?: string}} question
 */
export function confirmed({ title, text, yes, option }) {
  const dialog = place("confirm");
  place("confirm-title").textContent = title;
  place("confirm-text").textContent = text;
  place("confirm-yes").textContent = yes;
  place("confirm-choice").hidden = !option;
  place("confirm-option").checked = false;
  place("confirm-option-text").textContent = option ?? "";
  dialog.returnValue = "no";
  dialog.showModal();
  place("confirm-no").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(
      dialog.returnValue === "yes" ? { option: place("confirm-option").checked } : null), { once: true });
  });
}
