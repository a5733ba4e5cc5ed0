// The collection, and what is found in it. What is shown follows from the address, but for photos that were uploaded.

import { ask, element, names, search } from "./api.js";
import { Grid } from "./grid.js";
import { drawable, pixels } from "./region.js";

const MOST = 1000, PAGE = 200;
const at = (id) => document.getElementById(id);
const uploads = new Map(); // number in history.state → files
let state = {}, turn = 0, k = 60, next = 0, given = null;

const grid = new Grid(at("grid"), { more, act: (photo, liked) => like(photo.id, liked) });

function read() {
  const said = new URLSearchParams(location.search);
  const ids = (name) => [...new Set(said.getAll(name).map(Number).filter((id) => Number.isSafeInteger(id) && id > 0))];
  const files = uploads.get(history.state?.upload) ?? [];
  state = {
    like: ids("like"), unlike: ids("unlike"), label: said.get("label") ?? "", folder: said.get("folder") ?? "",
    region: said.get("region") ?? history.state?.region ?? "", files,
  };
}

function go(changes, { files = state.files, region = "" } = {}) {
  const wanted = { ...state, ...changes };
  const said = new URLSearchParams();
  for (const id of wanted.like) said.append("like", id);
  for (const id of wanted.unlike) said.append("unlike", id);
  if (wanted.label) said.set("label", wanted.label);
  if (wanted.folder) said.set("folder", wanted.folder);
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

const asks = () => state.like.length || state.files.length || state.label;

async function find() {
  const form = { like: state.like, unlike: asks() ? state.unlike : [], label: state.label, folder: state.folder, region: state.region, k };
  if (!state.files.length) return search(form);
  return search({ ...form, file: state.files[0] });
}

async function more() {
  const mine = turn;
  if (asks()) {
    if (k >= MOST) { grid.ended = true; return; }
    k = Math.min(MOST, k * 4);
    const { results } = await find();
    if (mine === turn) grid.append(results.slice(grid.photos.length), { ended: results.length < k });
  } else {
    const page = await ask(`/api/photos?after=${next}&limit=${PAGE}&folder=${encodeURIComponent(state.folder)}`);
    if (mine !== turn) return;
    next = page.next;
    grid.append(page.photos, { ended: next === null });
    if (next === null) say(`${grid.photos.length.toLocaleString()} photos`);
  }
}

const say = (text, wrong = false) => {
  at("status").textContent = text;
  at("status").classList.toggle("wrong", wrong);
};

async function show() {
  read();
  const mine = ++turn;
  k = 60;
  at("label").value = state.label;
  if (at("folder")) at("folder").value = state.folder;
  document.title = `${state.label || (asks() ? "Look-alikes" : "Photos")} · fc7`;
  say("Looking …");
  await Promise.all([chips(), upload(mine), results(mine)]);
}

async function results(mine) {
  try {
    if (asks()) {
      const { results } = await find();
      if (mine !== turn) return;
      grid.set(results, { ended: results.length < k });
      const what = state.label && !state.like.length && !state.files.length
        ? `Photos of ${state.label}, the most probable first`
        : "The most alike first" + (state.label ? `, photos of ${state.label}` : "");
      say(results.length ? what + (state.region ? ", by the part that was drawn" : "") : "Nothing was found.");
    } else {
      const page = await ask(`/api/photos?limit=${PAGE}&folder=${encodeURIComponent(state.folder)}`);
      if (mine !== turn) return;
      next = page.next;
      grid.set(page.photos, { ended: next === null });
      say(page.photos.length ? (next === null ? `${page.photos.length} photos` : "") : "There are no photos here yet. Add some with: fc7 index FOLDER");
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
  at("chips").hidden = !all.length;
  at("chips").replaceChildren(...all.map(([id, kind]) => {
    const words = kind === "like" ? "Like" : "Not like";
    const drop = element("button", { type: "button", textContent: "×", "aria-label": `Remove photo ${id}` });
    drop.addEventListener("click", () => go({ [kind]: state[kind].filter((one) => one !== id) }));
    return element("li", { className: kind }, words,
      element("a", { href: `/photos/${id}` }, element("img", { src: `/api/thumbnails/${id}`, alt: `photo ${id}` })), drop);
  }));
}

async function upload(mine) {
  const [file] = state.files;
  at("upload").hidden = !file;
  draw(false);
  if (!file || file === given) return;
  given = file;
  URL.revokeObjectURL(at("given").src);
  at("given").src = URL.createObjectURL(file);
  at("names").replaceChildren();
  const form = new FormData();
  form.append("photo", file, file.name || "photo");
  try {
    const answer = await ask("/api/classify", form);
    if (mine === turn) at("names").replaceChildren(names(answer.predictions));
  } catch (error) {
    if (mine === turn) at("names").replaceChildren(element("p", { className: "wrong", textContent: error.message }));
  }
}

function take(files) {
  const pictures = [...files].filter((file) => file.type.startsWith("image/") || !file.type);
  if (pictures.length) go({ like: [], unlike: [], label: "" }, { files: pictures.slice(0, 1) });
  else say("That is no picture.", true);
}

const drawing = drawable(at("canvas"), (part) => {
  const { naturalWidth, naturalHeight } = at("given");
  go({}, { region: pixels(part, naturalWidth, naturalHeight) });
});

function draw(on) {
  at("canvas").classList.toggle("drawing", on);
  at("draw").setAttribute("aria-pressed", on);
  at("draw").textContent = on ? "Draw a box in the photo" : "Look for a part of it";
  if (!on && !state.region) drawing.clear();
}

at("draw").addEventListener("click", () => draw(at("draw").getAttribute("aria-pressed") !== "true"));
at("close").addEventListener("click", () => go({}, { files: [] }));
at("file").addEventListener("change", () => { take(at("file").files); at("file").value = ""; });
at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  go({ label: at("label").value.trim(), folder: at("folder")?.value ?? "" });
});
at("folder")?.addEventListener("change", () => at("ask").requestSubmit());
addEventListener("paste", (event) => event.clipboardData.files.length && take(event.clipboardData.files));
addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
addEventListener("dragleave", (event) => event.relatedTarget === null && document.body.classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  if (event.dataTransfer.files.length) take(event.dataTransfer.files);
});
addEventListener("popstate", show);
at("label").addEventListener("focus", async () => {
  const { own, labels } = await ask("/api/labels").catch(() => ({ own: [], labels: [] }));
  const words = [...new Set([...own, ...labels].map((one) => one.label))];
  at("labels").replaceChildren(...words.map((value) => element("option", { value })));
}, { once: true });
show();
