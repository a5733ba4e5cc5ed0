// The map of all photos. The plane is divided into cells, finer the nearer one looks; each cell shows one photo of those
// in it, so that none covers another, and says how many more there are.

import { ask, element, nameOf } from "./api.js";

const CELL = 56; // pixels of a cell's height at least; it has up to twice that
const ASPECT = 4 / 3;
const DEEPEST = 12; // 2^12 cells beside each other
const LISTED = 1000;
const STEP = 90, AROUND = 1;
const at = (id) => document.getElementById(id);
const view = at("map"), list = at("photos");

let ids = [], places = [];
let room = [0, 0]; // width and height of the window
let size = 0, x = 0, y = 0, least = 0; // height of the plane in pixels, and where its corner is in the window
let asked = new Set(), waiting = [], timer = 0;
const levels = new Map(), known = new Map(), shown = new Map();

const cell = (number, side) => places[number].map((place) => Math.min(side - 1, Math.floor(place * side)));

// Of each cell that is not empty, the first photo in the order of the server, and how many there are.
function cells(level) {
  if (!levels.has(level)) {
    const found = new Map(), side = 2 ** level;
    for (let number = 0; number < ids.length; number++) {
      const [column, row] = cell(number, side), key = row * side + column;
      const known = found.get(key);
      if (known) known.count++;
      else found.set(key, { number, count: 1 });
    }
    levels.set(level, found);
  }
  return levels.get(level);
}

// Whether one can look nearer and see more.
const crowded = (level) => level < DEEPEST && cells(level).size < ids.length;

// As many cells as the window has room for. Where none holds two photos there are no more; their photos become larger.
function level_of(size) {
  let level = Math.max(0, Math.min(DEEPEST, Math.floor(Math.log2(size / CELL))));
  while (level > 0 && !crowded(level - 1)) level--;
  return level;
}

function sight() {
  const level = level_of(size), side = 2 ** level, height = size / side, width = height * ASPECT;
  const near = (column, row, by) => x + column * width < (1 + by) * room[0] && x + (column + 1) * width > -by * room[0]
    && y + row * height < (1 + by) * room[1] && y + (row + 1) * height > -by * room[1];
  return { level, side, height, width, near };
}

// Photos by their cells, and how many lie in cells that are in sight: in all, and shown.
function mapped() {
  const { level, side, height, width, near } = sight();
  const found = cells(level), wanted = new Map();
  let count = 0, seen = 0;
  // Those around the window are there for the keyboard, and for the next move.
  const range = (from, step, length) => [Math.max(0, Math.floor(-from / step) - AROUND), Math.min(side - 1, Math.floor((length - from) / step) + AROUND)];
  const [left, right] = range(x, width, room[0]), [top, bottom] = range(y, height, room[1]);
  for (let row = top; row <= bottom; row++) {
    for (let column = left; column <= right; column++) {
      const one = found.get(row * side + column);
      if (!one) continue;
      wanted.set(ids[one.number], { left: x + column * width, top: y + row * height, width, height, more: one.count - 1 });
      if (near(column, row, 0)) [count, seen] = [count + one.count, seen + 1];
    }
  }
  return { wanted, count, seen };
}

// All photos of the cells in sight, those of a cell beside each other.
function listing() {
  const { side, near } = sight();
  const found = [];
  for (let number = 0; number < ids.length; number++) {
    const [column, row] = cell(number, side);
    if (near(column, row, 0)) found.push([row * side + column, number]);
  }
  found.sort(([one, first], [other, second]) => one - other || first - second);
  const wanted = new Map(found.slice(0, LISTED).map(([, number]) => [ids[number], { more: 0 }]));
  return { wanted, count: found.length, seen: wanted.size };
}

function told(count, seen) {
  const all = ids.length.toLocaleString(), here = count.toLocaleString(), some = seen.toLocaleString();
  if (!count) return "No photo is here. “All” shows all of them.";
  if (count === seen) return `${here} of ${all} photos ${listed() ? "were" : "are"} in sight.`;
  if (listed()) return `The first ${some} of ${here} photos that were in sight.`;
  return `${some} of ${here} photos here are shown.${crowded(level_of(size)) ? " Zoom in to see more." : " “As a list” shows all of them."}`;
}

function draw() {
  if (!ids.length) return;
  if (!listed()) {
    room = [view.clientWidth, view.clientHeight];
    const kept = (place, length, room) => (length <= room ? (room - length) / 2 : Math.min(0, Math.max(room - length, place)));
    x = kept(x, size * ASPECT, room[0]);
    y = kept(y, size, room[1]);
  }
  const { wanted, count, seen } = listed() ? listing() : mapped();
  for (const [id, tile] of shown) {
    if (!wanted.has(id)) {
      if (tile.contains(document.activeElement)) view.focus({ preventScroll: true });
      tile.remove();
      shown.delete(id);
    }
  }
  let before = null;
  for (const [id, { left, top, width, height, more }] of wanted) {
    let tile = shown.get(id);
    if (!tile) shown.set(id, (tile = element("li", {}, element("a", { href: `/photos/${id}` }))));
    // In the order of reading, which is that of the keyboard. An element that moves would lose the focus.
    const next = before ? before.nextSibling : list.firstChild;
    if (next !== tile) {
      if (tile.contains(document.activeElement)) list.append(...[...list.children].slice([...list.children].indexOf(next), [...list.children].indexOf(tile)));
      else list.insertBefore(tile, next);
    }
    before = tile;
    tile.style.transform = `translate(${left}px, ${top}px)`;
    tile.style.width = `${width}px`;
    tile.style.height = `${height}px`;
    if (more) tile.dataset.more = `+${more.toLocaleString()}`;
    else delete tile.dataset.more;
    fill(id, tile, more);
  }
  ask_later();
  at("status").textContent = told(count, seen);
}

function fill(id, tile, more) {
  const photo = known.get(id), link = tile.firstChild;
  if (!photo) {
    if (!asked.has(id)) waiting.push(id);
    link.setAttribute("aria-label", `photo ${id}`);
    return;
  }
  const name = nameOf(photo.path), told = more ? `${name}, and ${more.toLocaleString()} more here` : name;
  if (!link.firstChild) {
    const image = element("img", { src: photo.thumbnail, alt: "", decoding: "async", draggable: false, loading: listed() ? "lazy" : "eager" });
    image.addEventListener("error", () => tile.classList.add("gone")); // its name is shown instead
    link.append(image, element("span", { textContent: name }));
  }
  link.title = told;
  link.setAttribute("aria-label", told);
}

function ask_later() {
  clearTimeout(timer);
  if (waiting.length) timer = setTimeout(tell, 60);
}

async function tell() {
  const some = [...new Set(waiting)].filter((id) => shown.has(id) && !asked.has(id)).slice(0, 400);
  waiting = [];
  if (!some.length) return;
  some.forEach((id) => asked.add(id));
  try {
    const { photos } = await ask(`/api/map/photos?${some.map((id) => `ids=${id}`).join("&")}`);
    for (const photo of photos) known.set(photo.id, photo);
    draw();
  } catch (error) {
    some.forEach((id) => asked.delete(id));
    at("status").textContent = error.message;
  }
}

// What is looked at nearer is the photo nearest to a point, so that one stays in sight.
function zoom(factor, atX = view.clientWidth / 2, atY = view.clientHeight / 2) {
  const wanted = Math.max(least, Math.min(size * factor, CELL * 2 ** (level_of(size * factor) + 2)));
  let across = (atX - x) / (size * ASPECT), down = (atY - y) / size;
  if (factor > 1) {
    const far = ([one, other]) => ((one - across) * ASPECT) ** 2 + (other - down) ** 2;
    [across, down] = places.reduce((best, place) => (far(place) < far(best) ? place : best));
    const left = x + across * size * ASPECT, top = y + down * size;
    const seen = left >= 0 && left <= view.clientWidth && top >= 0 && top <= view.clientHeight;
    [atX, atY] = seen ? [left, top] : [view.clientWidth / 2, view.clientHeight / 2];
  }
  x = atX - across * wanted * ASPECT;
  y = atY - down * wanted;
  size = wanted;
  later();
}

function all() {
  least = Math.min(view.clientWidth / ASPECT, view.clientHeight);
  size = least;
  later();
}

let frame;
function later() {
  frame ??= requestAnimationFrame(() => { frame = undefined; draw(); });
}

const inside = (event) => {
  const box = view.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};
const listed = () => view.classList.contains("as-list");
const fingers = new Map();
let dragged = 0;
view.addEventListener("wheel", (event) => {
  if (listed()) return;
  event.preventDefault();
  zoom(Math.exp((-event.deltaY * (event.deltaMode ? 20 : 1)) / 400), ...inside(event));
}, { passive: false });
view.addEventListener("pointerdown", (event) => {
  if (event.button || listed()) return;
  if (!fingers.size) dragged = 0;
  fingers.set(event.pointerId, inside(event));
});
view.addEventListener("pointermove", (event) => {
  const from = fingers.get(event.pointerId);
  if (!from) return;
  const to = inside(event), other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
  dragged += Math.hypot(to[0] - from[0], to[1] - from[1]);
  fingers.set(event.pointerId, to);
  if (dragged < 6) return;
  view.setPointerCapture(event.pointerId);
  view.classList.add("moving");
  const share = other ? 0.5 : 1;
  x += share * (to[0] - from[0]);
  y += share * (to[1] - from[1]);
  if (other) {
    const length = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
    zoom(length(to) / length(from), (to[0] + other[0]) / 2, (to[1] + other[1]) / 2);
  }
  later();
});
for (const kind of ["pointerup", "pointercancel"]) {
  addEventListener(kind, (event) => {
    fingers.delete(event.pointerId);
    if (!fingers.size) view.classList.remove("moving");
  });
}
view.addEventListener("click", (event) => { if (dragged >= 6 && event.detail) event.preventDefault(); }, true);
view.addEventListener("dragstart", (event) => event.preventDefault());
view.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || listed()) return;
  const move = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] }[event.key];
  if (move) {
    x += move[0];
    y += move[1];
    later();
  } else if (event.key === "+" || event.key === "=") zoom(1.4);
  else if (event.key === "-") zoom(1 / 1.4);
  else if (event.key === "0") all();
  else return;
  event.preventDefault();
});
list.addEventListener("focusin", (event) => {
  view.scrollTo(0, 0); // browsers scroll to what has the focus; here the map moves
  if (listed() || !event.target.matches(":focus-visible")) return;
  const box = event.target.getBoundingClientRect(), room = view.getBoundingClientRect();
  const missing = (from, to, start, end) => (from < start ? start - from : to > end ? end - to : 0);
  x += missing(box.left, box.right, room.left, room.right);
  y += missing(box.top, box.bottom, room.top, room.bottom);
  later();
});
at("in").addEventListener("click", () => zoom(1.6));
at("out").addEventListener("click", () => zoom(1 / 1.6));
at("all").addEventListener("click", all);
at("list").addEventListener("click", () => {
  const on = !listed();
  view.classList.toggle("as-list", on);
  at("list").setAttribute("aria-pressed", on);
  for (const name of ["in", "out", "all"]) at(name).disabled = on;
  draw();
});
new ResizeObserver(() => {
  if (listed() || !ids.length) return;
  const whole = size <= least;
  least = Math.min(view.clientWidth / ASPECT, view.clientHeight);
  if (whole || size < least) all();
  else later();
}).observe(view);

try {
  ({ ids, places } = await ask("/api/map"));
  at("status").textContent = "There are no photos here yet. Add some with: fc7 index FOLDER";
  all();
} catch (error) {
  at("status").textContent = error.message;
}
