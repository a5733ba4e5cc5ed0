// One photo: its neighbours, and looking for a part of it.

import { ask, search } from "./api.js";
import { Grid } from "./grid.js";
import { drawable, pixels } from "./region.js";

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

const look = (region) => { location.href = `/?like=${id}&region=${region}`; };
drawable(at("canvas"), (part) => look(pixels(part, Number(width), Number(height))));
at("draw").addEventListener("click", () => {
  const on = at("canvas").classList.toggle("drawing");
  at("draw").setAttribute("aria-expanded", on);
  at("region").hidden = !on;
});
at("region").addEventListener("submit", (event) => {
  event.preventDefault();
  const said = new FormData(at("region"));
  look(["x", "y", "w", "h"].map((name) => said.get(name)).join(","));
});
at("copy").addEventListener("click", async () => {
  const { path } = await ask(`/api/photos/${id}`);
  try {
    await navigator.clipboard.writeText(path);
    at("copy").textContent = "Copied";
  } catch {
    at("copy").textContent = path; // a page that came without https may not write to the clipboard
  }
});
