// What the companion panel asks of OHIF: the address, and the viewports that OHIF leaves in `window`. It does without the latter.
const MOST_STUDIES = 4;
const JUST_MS = 1000;

function parameter(name) {
  const found = [...new URLSearchParams(location.search)].filter(([key]) => key.toLowerCase() === name);
  return found.flatMap(([, value]) => value.split(","));
}

// UIDs of the studies that are open; none on the list of studies.
export function openStudies() {
  return [...new Set(parameter("studyinstanceuids").filter((uid) => /^[0-9.]{1,64}$/.test(uid)))].slice(0, MOST_STUDIES);
}

// The series that the address asks for.
export const openSeries = () => parameter("initialseriesinstanceuid")[0] ?? "";

// Loads the viewer anew, with these studies, at a series or an image of it.
export function open(studies, series, instance = "") {
  load({ StudyInstanceUIDs: unique(studies), initialSeriesInstanceUID: series, initialSOPInstanceUID: instance });
}

// The same with a segmentation laid over the image that is on display; the protocol is in OHIF's configuration file.
export function overlay(studies, segmentation) {
  const [, instance = ""] = /\/instances\/([0-9.]+)/.exec(viewports()[0]?.getCurrentImageId?.() ?? "") ?? [];
  load({ StudyInstanceUIDs: unique(studies), hangingProtocolId: "apprentice", initialSopInstanceUID: instance,
    initialSeriesInstanceUID: segmentation });
}

const unique = (studies) => [...new Set(studies)].join(",");
const viewports = () => (window.cornerstone?.getEnabledElements?.() ?? []).map(({ viewport }) => viewport);

function load(parameters) {
  const known = Object.entries(parameters).filter(([, value]) => value);
  location.assign(`${location.pathname}?${new URLSearchParams(known)}`);
}

// Goes to an image without loading anything anew, where OHIF's viewports can be reached; tells whether it came there.
export async function jump(instance, frame) {
  const library = window.cornerstone;
  const means = (id) => Boolean(id?.includes(instance) && (!frame || id.includes(`/frames/${frame}`)));
  for (const viewport of viewports()) {
    const ids = viewport.getImageIds?.() ?? [], index = ids.findIndex(means);
    for (const to of index < 0 ? [] : [index, ids.length - 1 - index]) { // volumes may count from the other end
      if (viewport.setImageIdIndex) await viewport.setImageIdIndex(to);
      else await library.utilities?.jumpToSlice?.(viewport.element, { imageIndex: to });
      if (means(viewport.getCurrentImageId?.())) return true;
    }
  }
  return false;
}

// Whether something was drawn that was not saved since, as far as one can see from here: strokes on an image, by Cornerstone's
// events. `saved` is called when the node has heard of an annotation.
export function strokes() {
  let drawn = false, pressed = false, releasedAt = 0, tries = 0;
  document.addEventListener("pointerdown", (event) => { pressed = event.target instanceof HTMLCanvasElement; }, true);
  document.addEventListener("pointerup", () => {
    if (pressed) releasedAt = Date.now();
    pressed = false;
  }, true);
  const listen = () => {
    const name = window.cornerstoneTools?.Enums?.Events?.SEGMENTATION_DATA_MODIFIED;
    const target = window.cornerstone?.eventTarget;
    if (name && target?.addEventListener) {
      target.addEventListener(name, () => { drawn ||= pressed || Date.now() - releasedAt < JUST_MS; });
    } else if (++tries < 60) setTimeout(listen, 1000);
  };
  listen();
  return { unsaved: () => drawn, saved: () => { drawn = false; } };
}
