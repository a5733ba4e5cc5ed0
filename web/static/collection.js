// The collection, and what is found in it. What is shown follows from the address, but for photos that were uploaded.

import { ask, element, names, replace, search, spoken, told } from "./api.js";
import { Grid } from "./grid.js";
import { byNumbers, drawable, pixels } from "./region.js";

const MOST = 1000, FIRST = 100, PAGE = 1000, TOGETHER = 32;
const at = (id) => document.getElementById(id);
const uploads = new Map(); // number in history.state → files
const words = at("ask").dataset.text !== undefined; // whether the model knows more words than its labels
let state = {}, entry = null, turn = 0, k = 60, next = 0, given = null, adding = false, known = null;

const NAMES = ["label", "text", "folder", "since", "until"];

const grid = new Grid(at("grid"), { more, act: (photo, liked) => like(photo.id, liked) });

// A year or a month as its first or last day, which a field for dates can show.
function day(said, last) {
  const [, year, month] = /^(\d{4})(?:-(\d\d?))?$/.exec(said) ?? [];
  if (!year) return said;
  const number = Number(month ?? (last ? 12 : 1));
  const two = (value) => String(value).padStart(2, "0");
  return `${year}-${two(number)}-${two(last ? new Date(Date.UTC(year, number, 0)).getUTCDate() : 1)}`;
}

function read() {
  const said = new URLSearchParams(location.search);
  const ids = (name) => [...new Set(said.getAll(name).map(Number).filter((id) => Number.isSafeInteger(id) && id > 0))];
  const files = uploads.get(history.state?.upload) ?? [];
  state = {
    like: ids("like"), unlike: ids("unlike"), after: ids("after")[0] ?? 0, files,
    region: said.get("region") ?? history.state?.region ?? "",
    ...Object.fromEntries(NAMES.map((name) => [name, said.get(name) ?? ""])),
  };
  state.since = day(state.since, false);
  state.until = day(state.until, true);
}

function go(changes, { files = state.files, region = "" } = {}) {
  const wanted = { ...state, ...changes };
  const said = new URLSearchParams();
  for (const id of wanted.like) said.append("like", id);
  for (const id of wanted.unlike) said.append("unlike", id);
  for (const name of NAMES) if (wanted[name]) said.set(name, wanted[name]);
  if (region && !files.length) said.set("region", region);
  let number;
  if (files.length) {
    number = files === state.files ? history.state.upload : Date.now();
    uploads.set(number, files);
  }
  history.pushState({ upload: number, region: files.length ? region : "" }, "", said.size ? `/?${said}` : "/");
  scrollTo(0, 0);
  show();
}

function like(id, liked) {
  const [to, other] = liked ? ["like", "unlike"] : ["unlike", "like"];
  go({ [to]: [...new Set([...state[to], id])], [other]: state[other].filter((one) => one !== id) });
}

const asks = () => state.like.length || state.files.length || state.text || state.label;

const alone = () => state.label && !state.like.length && !state.files.length && !state.text;

const find = () => search({ ...state, unlike: alone() ? [] : state.unlike, k });

function page(after, limit) {
  const asked = new URLSearchParams({ after, limit });
  for (const name of ["folder", "since", "until"]) if (state[name]) asked.set(name, state[name]);
  return ask(`/api/photos?${asked}`);
}

async function more() {
  const mine = turn;
  if (asks()) {
    if (k >= MOST) { grid.ended = true; return; }
    k = Math.min(MOST, k * 4);
    const { results } = await find();
    if (mine === turn) grid.append(results.slice(grid.photos.length), { ended: results.length < k });
  } else {
    const answer = await page(next, PAGE);
    if (mine !== turn) return;
    next = answer.next;
    grid.append(answer.photos, { ended: next === null });
    if (next === null) say(counted());
  }
}

function counted(count = grid.photos.length) {
  return `${count.toLocaleString()} ${state.after ? "new " : ""}photo${count === 1 ? "" : "s"}`;
}

// How many there are is known before they are all listed.
async function count(mine) {
  const { photos } = await ask("/api/folders").catch(() => ({}));
  if (photos && mine === turn && next !== null) say(counted(photos));
}

const say = (text, wrong = false) => {
  at("status").textContent = text;
  at("status").classList.toggle("wrong", wrong);
};

// A link within the page, as "Skip to the content", shows nothing else, and leaves uploads where they are.
function moved() {
  const same = location.search === entry.search;
  if (same && location.hash && !history.state) history.replaceState(entry.state, "");
  if (!same || JSON.stringify(history.state) !== JSON.stringify(entry.state)) show();
}

async function show() {
  entry = { search: location.search, state: history.state };
  read();
  const mine = ++turn;
  k = 60;
  at("label").value = state.label || state.text;
  for (const name of ["since", "until"]) at(name).value = state[name];
  if (state.since || state.until) dates(true);
  if (at("folder")) at("folder").value = state.folder;
  document.title = `${state.label || state.text || (asks() ? "Look-alikes" : "Photos")} · fc7`;
  say("Looking …");
  grid.leave();
  await Promise.all([results(mine), chips(), upload(mine)]); // what is looked for is asked for first
}

async function results(mine) {
  try {
    if (asks()) {
      const { results } = await find();
      if (mine !== turn) return;
      grid.set(results, { ended: results.length < k });
      const what = alone()
        ? `Photos of ${state.label}, the most probable first`
        : (state.text ? `The most like “${state.text}” first` : "The most alike first") + (state.label ? `, photos of ${state.label}` : "");
      say(results.length ? what + (state.region ? ", by the part that was drawn" : "") : "Nothing was found.");
    } else {
      const answer = await page(state.after, FIRST);
      if (mine !== turn) return;
      next = answer.next;
      grid.set(answer.photos, { ended: next === null });
      const none = state.since || state.until ? "No photo here is known to be of that time." : "There are no photos here yet. Add some with: fc7 index FOLDER";
      say(answer.photos.length ? (next === null ? counted() : "") : none);
      if (next !== null && !NAMES.some((name) => state[name]) && !state.after) count(mine);
    }
  } catch (error) {
    if (mine === turn) {
      grid.set([], { ended: true });
      say(error.message, true);
    }
  }
}

async function chips() {
  const all = [...state.like.map((id) => [id, "like"]), ...state.unlike.map((id) => [id, "unlike"])];
  replace(at("chips"), all.map(([id, kind]) => {
    const words = kind === "like" ? "Like" : "Not like";
    const drop = element("button", { type: "button", textContent: "×", "aria-label": `Remove photo ${id}` });
    drop.addEventListener("click", () => go({ [kind]: state[kind].filter((one) => one !== id) }));
    return element("li", { className: kind }, words,
      element("a", { href: `/photos/${id}` }, element("img", { src: `/api/thumbnails/${id}`, alt: `photo ${id}` })), drop);
  }), at("main"));
  at("chips").hidden = !all.length;
}

async function upload(mine) {
  const { files } = state;
  const one = files.length === 1;
  if (!files.length && at("upload").contains(document.activeElement)) at("main").focus();
  at("upload").hidden = !files.length;
  at("draw").hidden = !one || state.like.length > 0 || state.text !== "";
  at("one").hidden = at("what").hidden = at("names").hidden = !one;
  at("several").hidden = one;
  draw(false);
  if (one) drawing.mark(state.region);
  if (!files.length || files === given) return;
  given = files;
  for (const image of at("upload").querySelectorAll("img")) URL.revokeObjectURL(image.src);
  at("names").replaceChildren();
  replace(at("several"), one ? [] : files.map(thumbnail), at("add"));
  if (one) at("given").src = URL.createObjectURL(files[0]);
  await Promise.all(files.map(async (file, number) => {
    const to = one ? at("names") : at("several").children[number].querySelector("span");
    const form = new FormData();
    form.append("photo", file, file.name || "photo");
    try {
      const answer = await ask("/api/classify", form);
      if (mine === turn) to.replaceChildren(one ? names(answer) : told(answer).slice(0, 1).map(spoken).join());
    } catch (error) {
      if (mine === turn) to.replaceChildren(element("span", { className: "wrong", textContent: error.message }));
    }
  }));
}

function thumbnail(file) {
  const drop = element("button", { type: "button", textContent: "×", "aria-label": `Remove ${file.name}` });
  drop.addEventListener("click", () => go({}, { files: state.files.filter((one) => one !== file) }));
  return element("li", {}, element("img", { src: URL.createObjectURL(file), alt: file.name }), element("span"), drop);
}

function take(files) {
  const pictures = [...files].filter((file) => file.type.startsWith("image/") || !file.type);
  const together = [...(adding ? state.files : []), ...pictures];
  if (!pictures.length) say("That is no picture.", true);
  else if (together.length > TOGETHER) say(`More than ${TOGETHER} photos are not taken together.`, true);
  else go(adding ? {} : { like: [], unlike: [], label: "", text: "" }, { files: together });
  adding = false;
}

const look = (region) => go({}, { region });
const drawing = drawable(at("canvas"), (part) => look(pixels(part, at("given").naturalWidth, at("given").naturalHeight)));
byNumbers(at("region"), look);

function draw(on) {
  at("canvas").classList.toggle("drawing", on);
  at("draw").setAttribute("aria-expanded", on);
  at("region").hidden = !on;
  if (on) {
    const { naturalWidth: width, naturalHeight: height } = at("given");
    const said = state.region ? state.region.split(",") : [0, 0, width, height];
    ["x", "y", "w", "h"].forEach((name, number) => { at("region").elements[name].value = said[number]; });
  }
}

// Labels are those of the model and the user's own; with a text half all other words are looked for as such.
async function labels() {
  known ??= ask("/api/labels").then(({ own, labels }) => [...new Set([...own, ...labels].map((one) => one.label))]);
  return known.catch(() => { known = null; return []; });
}

async function submit() {
  const said = at("label").value.trim();
  const named = !words || (await labels()).some((label) => label.toLowerCase() === said.toLowerCase());
  const when = { since: at("since").value, until: at("until").value };
  go({ label: named ? said : "", text: named ? "" : said, folder: at("folder")?.value ?? "", ...when });
}

function dates(on) {
  at("dates").hidden = !on;
  at("when").setAttribute("aria-expanded", on);
}

at("draw").addEventListener("click", () => draw(at("draw").getAttribute("aria-expanded") !== "true"));
at("close").addEventListener("click", () => go({}, { files: [] }));
at("add").addEventListener("click", () => { adding = true; at("file").click(); });
at("file").addEventListener("cancel", () => { adding = false; });
at("file").addEventListener("change", () => { take([...at("file").files]); at("file").value = ""; });
at("ask").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
at("folder")?.addEventListener("change", submit);
// While a year is typed, each of its digits is one.
for (const name of ["since", "until"]) at(name).addEventListener("change", () => at(name).validity.valid && submit());
at("when").addEventListener("click", () => dates(at("dates").hidden));
addEventListener("paste", (event) => event.clipboardData.files.length && take(event.clipboardData.files));
addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
addEventListener("dragleave", (event) => event.relatedTarget === null && document.body.classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  if (event.dataTransfer.files.length) take(event.dataTransfer.files);
});
addEventListener("popstate", moved);
at("label").addEventListener("focus", async () => {
  at("labels").replaceChildren(...(await labels()).map((value) => element("option", { value })));
}, { once: true });
show();
