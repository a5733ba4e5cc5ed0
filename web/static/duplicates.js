// Groups of copies: looked through side by side, told apart, and listed for other programs.

import { ask, element, nameOf } from "./api.js";

const at = (id) => document.getElementById(id);
const kinds = ["exact", "altered", "alike"];
const asked = new URLSearchParams(location.search).get("like");
const kind = kinds.includes(asked) ? asked : "exact";
const PAGE = 50;
const groups = new Map(); // element → { photos, kept }
let offset = 0, total = 0;

at("tabs").children[kinds.indexOf(kind)].setAttribute("aria-current", "page");

const say = (text, wrong = false) => {
  at("status").textContent = text;
  at("status").classList.toggle("wrong", wrong);
};

async function load() {
  for (;;) {
    const answer = await ask(`/api/duplicates?like=${kind}&offset=${offset}&limit=${PAGE}`);
    at("progress").hidden = !answer.running;
    if (!answer.running) return answer;
    at("progress").max = answer.total || 1;
    at("progress").value = answer.done;
    say(answer.total ? `Comparing: ${answer.done.toLocaleString()} of ${answer.total.toLocaleString()}` : "Comparing …");
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

async function more() {
  try {
    const answer = await load();
    total = answer.total;
    offset += answer.groups.length;
    at("groups").append(...answer.groups.filter((group) => group.photos.length > 1).map(section));
    at("more").hidden = offset >= total || !answer.groups.length;
    at("export").hidden = !groups.size;
    const left = answer.left_out ? ` ${answer.left_out.toLocaleString()} photos were left out: bring the index up to date.` : "";
    say((total ? `${total.toLocaleString()} group${total === 1 ? "" : "s"}.` : "No copies were found.") + left);
  } catch (error) {
    at("progress").hidden = true;
    say(error.message, true);
  }
}

const size = (bytes) => (bytes < 1e6 ? `${(bytes / 1e3).toFixed(bytes < 1e4 ? 1 : 0)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

function section(group) {
  const name = `group-${group.photos[0].id}`;
  const because = group.kept_because.length ? `best by ${group.kept_because.join(", ").replaceAll("_", " ")}` : "";
  const entry = { photos: group.photos, kept: group.photos[0].id, keep: new Map() };
  const compare = element("button", { type: "button", textContent: "Compare" });
  const apart = element("button", { type: "button", textContent: "Not copies of each other" });
  const made = element("section", { className: "group", "aria-label": `${group.photos.length} photos` },
    element("h2", { textContent: `${group.photos.length} photos` }),
    element("div", { className: "row", tabIndex: 0, role: "group", "aria-label": "Photos of this group" }, ...group.photos.map((photo, number) => {
      const keep = element("input", { type: "radio", name, value: photo.id, checked: number === 0, id: `${name}-${photo.id}` });
      keep.addEventListener("change", () => { entry.kept = photo.id; });
      entry.keep.set(photo.id, () => { keep.checked = true; entry.kept = photo.id; });
      return element("figure", { className: "copy" },
        element("a", { href: `/photos/${photo.id}` }, element("img", { src: photo.thumbnail, alt: nameOf(photo.path), loading: "lazy" })),
        element("label", { for: keep.id }, keep, "Keep this one"),
        element("div", { textContent: `${photo.width} × ${photo.height}, ${size(photo.bytes)}` }),
        element("div", { textContent: number === 0 ? because : "" }),
        element("div", { className: "path", textContent: photo.path }));
    })),
    element("div", { className: "acts-row" }, compare, apart));
  groups.set(made, entry);
  compare.addEventListener("click", () => {
    const first = entry.photos.findIndex((photo) => photo.id === entry.kept);
    open(entry, first, first ? 0 : 1);
  });
  // The server counts a group no more that was told apart, and again when that is taken back.
  const remember = async (different) => {
    try {
      await ask("/api/duplicates/different", JSON.stringify({ ids: entry.photos.map((photo) => photo.id), different }));
      const change = different ? -1 : 1;
      offset += change;
      total += change;
      if (different) groups.delete(made);
      else groups.set(made, entry);
      (different ? made : note).replaceWith(different ? note : made);
      (different ? undo : apart).focus();
      at("export").hidden = !groups.size;
      say("");
    } catch (error) {
      say(error.message, true);
    }
  };
  const undo = element("button", { type: "button", textContent: "Undo" });
  const note = element("p", { className: "group" }, `Remembered: these ${entry.photos.length} photos are no copies of each other. `, undo);
  apart.addEventListener("click", () => remember(true));
  undo.addEventListener("click", () => remember(false));
  return made;
}

// Two photos, zoomed and moved together.
const panes = [...at("pair").children];
const pictures = panes.map((pane) => pane.firstElementChild);

const captions = [...at("captions").children];
let compared = null; // { entry, shown: places of two photos in its group }

function open(entry, ...shown) {
  compared = { entry, shown };
  at("zoom").value = 0;
  at("over").checked = false;
  at("pair").classList.remove("over");
  at("next").hidden = entry.photos.length < 3;
  at("compare").showModal();
  fill();
}

function fill() {
  const { entry, shown } = compared;
  shown.forEach((place, side) => {
    const photo = entry.photos[place];
    if (!pictures[side].src.endsWith(photo.preview)) pictures[side].src = photo.preview;
    pictures[side].alt = photo.path;
    const [text, keep] = captions[side].children;
    text.textContent = `${nameOf(photo.path)}, ${photo.width} × ${photo.height}, ${size(photo.bytes)}`;
    keep.setAttribute("aria-pressed", photo.id === entry.kept);
  });
  zoom();
}

captions.forEach((caption, side) => caption.lastElementChild.addEventListener("click", () => {
  compared.entry.keep.get(compared.entry.photos[compared.shown[side]].id)();
  fill();
}));
new ResizeObserver(() => compared && zoom()).observe(panes[0]);
at("next").addEventListener("click", () => {
  const { entry, shown } = compared;
  do shown[1] = (shown[1] + 1) % entry.photos.length; while (shown[1] === shown[0]);
  fill();
});

// Without zoom all of a photo is seen.
function zoom() {
  const share = 1 + Number(at("zoom").value) / 20;
  panes.forEach((pane, number) => {
    const { width, height } = compared.entry.photos[compared.shown[number]];
    const whole = Math.min(pane.clientWidth, (pane.clientHeight * width) / height) || pane.clientWidth;
    pictures[number].style.width = `${Math.floor(share * whole)}px`;
  });
}

panes.forEach((pane, number) => pane.addEventListener("scroll", () => {
  const other = panes[1 - number];
  const room = (one, side) => one[`scroll${side}`] - one[`client${side}`];
  for (const [place, side] of [["scrollTop", "Height"], ["scrollLeft", "Width"]]) {
    const wanted = room(pane, side) > 0 ? (pane[place] / room(pane, side)) * room(other, side) : 0;
    if (Math.abs(other[place] - wanted) > 1) other[place] = wanted;
  }
}));
at("zoom").addEventListener("input", zoom);
at("over").addEventListener("change", () => { at("pair").classList.toggle("over", at("over").checked); zoom(); });
at("done").addEventListener("click", () => at("compare").close());
at("more").addEventListener("click", more);

const quoted = (path) => `'${path.replaceAll("'", "'\\''")}'`;

function exported(how) {
  const spare = [...groups.values()].map(({ photos, kept }) => [
    photos.find((photo) => photo.id === kept).path, photos.filter((photo) => photo.id !== kept).map((photo) => photo.path),
  ]);
  const paths = spare.flatMap(([, others]) => others);
  if (how === "json") return JSON.stringify(spare.map(([keep, others]) => ({ keep, others })), null, 2) + "\n";
  if (how === "paths") return paths.join("\n") + "\n";
  const lines = paths.map((path) => `move ${quoted(path)}`);
  return `#!/bin/sh
# Moves copies into a folder, below which they keep their paths. Nothing is overwritten.
# Use: sh copies.sh FOLDER
set -eu
target=\${1:?name the folder that the copies are moved into}
move() {
  if [ -e "$target$1" ]; then echo "left, as it is in $target already: $1" >&2; return; fi
  mkdir -p "$target$(dirname "$1")"
  mv -n "$1" "$target$1"
}
${lines.join("\n")}
`;
}

at("export").addEventListener("click", async (event) => {
  const how = event.target.dataset.kind;
  if (!how) return;
  while (offset < total && !at("more").hidden) await more(); // the list is of all groups, not of those on the page
  const name = { paths: "copies.txt", json: "copies.json", script: "copies.sh" }[how];
  const link = element("a", { href: URL.createObjectURL(new Blob([exported(how)], { type: "text/plain" })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});
more();
