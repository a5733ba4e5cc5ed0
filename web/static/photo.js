// One photo: its neighbours, and looking for a part of it.

import { ask, element, search } from "./api.js";
import { Grid } from "./grid.js";
import { byNumbers, drawable, pixels } from "./region.js";

const at = (id) => document.getElementById(id);
const { id, width, height } = at("photo").dataset;
let k = 40;

const grid = new Grid(at("grid"), {
  more: async () => {
    if (k >= 1000) { grid.ended = true; return; }
    k = Math.min(1000, k * 4);
    const { results } = await search({ like: [id], k });
    grid.append(results.slice(grid.photos.length), { ended: results.length < k });
  },
  act: (photo, liked) => { location.href = `/?like=${id}&${liked ? "like" : "unlike"}=${photo.id}`; },
});

search({ like: [id], k }).then(
  ({ results }) => {
    grid.set(results, { ended: results.length < k });
    if (!results.length) at("status").textContent = "There is no other photo.";
  },
  (error) => { at("status").textContent = error.message; at("status").classList.add("wrong"); },
);

// What is where, drawn over the photo; each box is a link that looks for it.
const boxes = element("ul", { className: "boxes", "aria-label": "What is where" });
let asked = null;
at("boxes").addEventListener("click", async () => {
  const on = at("boxes").getAttribute("aria-pressed") !== "true";
  at("boxes").setAttribute("aria-pressed", on);
  if (!on) {
    boxes.remove();
    at("found").textContent = "";
    return;
  }
  at("found").textContent = "Looking …";
  at("found").classList.remove("wrong");
  try {
    asked ??= ask(`/api/photos/${id}/detections`);
    const { detections } = await asked;
    if (at("boxes").getAttribute("aria-pressed") !== "true") return;
    boxes.replaceChildren(...detections.map(box));
    at("canvas").append(boxes);
    at("found").textContent = detections.length
      ? `${detections.length === 1 ? "One thing was" : `${detections.length} things were`} found. Choose a box to look for what is in it.`
      : "Nothing was found that has a place in the photo.";
  } catch (error) {
    asked = null;
    at("boxes").setAttribute("aria-pressed", false);
    at("found").textContent = error.message;
    at("found").classList.add("wrong");
  }
});

function box({ label, probability, box: [x, y, w, h] }) {
  const name = `${label} ${(100 * probability).toFixed(0)} %`;
  const made = element("li", {}, element("a", { href: `/?like=${id}&region=${x},${y},${w},${h}`, title: `Look for this ${label}` },
    element("span", { textContent: name })));
  Object.assign(made.style, { left: `${(100 * x) / width}%`, top: `${(100 * y) / height}%`, width: `${(100 * w) / width}%`, height: `${(100 * h) / height}%` });
  return made;
}

const look = (region) => { location.href = `/?like=${id}&region=${region}`; };
drawable(at("canvas"), (part) => look(pixels(part, Number(width), Number(height))));
at("draw").addEventListener("click", () => {
  const on = at("canvas").classList.toggle("drawing");
  at("draw").setAttribute("aria-expanded", on);
  at("region").hidden = !on;
});
byNumbers(at("region"), look);
at("copy").addEventListener("click", async () => {
  const { path } = await ask(`/api/photos/${id}`);
  try {
    await navigator.clipboard.writeText(path);
    at("copy").textContent = "Copied";
  } catch {
    at("copy").textContent = path; // a page that came without https may not write to the clipboard
  }
});
