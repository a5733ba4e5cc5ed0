// The indexed folders, brought up to date while the page shows how far that is.

import { ask, element, sentence } from "./api.js";

const at = (id) => document.getElementById(id);
const COUNTS = ["new", "changed", "moved", "copied", "removed", "unchanged"];
let folders = [], source = null, begun = null; // the folder whose button was pressed

const say = (text, wrong = false) => {
  at("status").textContent = text;
  at("status").classList.toggle("wrong", wrong);
};
const many = (count, one) => `${count.toLocaleString()} ${one}${count === 1 ? "" : "s"}`;

function reasons(photos) {
  return photos.map(({ path, reason }) => element("li", {}, element("span", { className: "path", textContent: path }), ` ${reason}`));
}

function result(changes) {
  const skipped = changes.skipped_count + changes.still_skipped;
  const counts = COUNTS.filter((name) => changes[name]).map((name) => `${changes[name].toLocaleString()} ${name}`);
  if (skipped) counts.push(`${skipped.toLocaleString()} skipped`);
  const unread = Object.entries(changes.unread).map(([suffix, count]) => `${suffix} ${count.toLocaleString()}`);
  const told = changes.seen ? counts.join(", ") || "no photos" : "its photos cannot be seen now, and stay indexed";
  const made = [element("p", { className: changes.seen ? "" : "wrong", textContent: told })];
  if (unread.length) made.push(element("p", { className: "quiet", textContent: `Kinds that fc7 cannot read: ${unread.join(", ")}` }));
  if (changes.skipped.length || changes.incomplete.length) {
    const parts = changes.incomplete.map(({ path, missing }) => ({ path, reason: `incomplete: ${missing}` }));
    made.push(element("details", { open: changes.skipped.length < 6 },
      element("summary", { textContent: `Why ${many(changes.skipped_count + parts.length, "photo")} could not be read whole` }),
      element("ul", { className: "reasons" }, ...reasons([...changes.skipped, ...parts]))));
  }
  return made;
}

function card({ id, folder, photos }, run) {
  const changes = run?.changes.find((one) => one.folder === folder);
  const button = element("button", { type: "button", textContent: "Update", disabled: run?.state === "running", "aria-label": `Update ${folder}` });
  button.addEventListener("click", () => start([id]));
  return element("li", {},
    element("div", { className: "folder" },
      element("div", {}, element("a", { href: `/?folder=${encodeURIComponent(folder)}`, textContent: folder }),
        element("div", { className: "quiet", textContent: many(photos, "photo") })),
      button),
    ...(changes ? result(changes) : []));
}

function show(run) {
  const running = run?.state === "running";
  at("all").disabled = running;
  at("stop").hidden = !running;
  at("progress").hidden = !running;
  at("added").hidden = true;
  for (const button of at("folders").querySelectorAll("button")) button.disabled = running;
  if (!run) return say(folders.length ? "" : "No folder is indexed yet.");
  if (running) {
    if (run.total) {
      at("progress").max = run.total;
      at("progress").value = run.done;
    } else at("progress").removeAttribute("value");
    return say(run.doing || (run.total ? `${run.done.toLocaleString()} of ${run.total.toLocaleString()} photos` : "Looking for new and changed photos …"));
  }
  const sum = (name) => run.changes.reduce((total, changes) => total + changes[name], 0);
  if (run.state === "failed") return say(`${sentence(run.error)} ${sentence(run.hint)}`, true);
  if (run.state === "stopped") return say("Stopped. What was read stays; the next run continues from there.");
  const news = sum("new") + sum("copied");
  at("added").hidden = !news;
  at("show").href = `/?after=${run.after}`;
  at("show").textContent = `Show ${many(news, "new photo")}`;
  say([news || sum("changed") || sum("moved") || sum("removed") ? "Up to date." : "Nothing has changed.", ...run.warnings].join(" "));
}

async function load() {
  const state = await ask("/api/indexing");
  folders = state.folders;
  const stopping = document.activeElement === at("stop");
  at("folders").replaceChildren(...folders.map((folder) => card(folder, state.run)));
  at("skipped").hidden = !state.skipped_count;
  at("skipped").firstElementChild.textContent = `${many(state.skipped_count, "photo")} cannot be read, and ${state.skipped_count === 1 ? "is" : "are"} not in the index`;
  at("skipped").lastElementChild.replaceChildren(...reasons(state.skipped));
  at("all").hidden = !folders.length;
  show(state.run);
  if (state.run?.state === "running") watch();
  else if (stopping) (at("folders").querySelectorAll("button")[folders.findIndex(({ id }) => id === begun)] ?? at("all")).focus();
}

function watch() {
  source?.close();
  source = new EventSource("/api/indexing/events");
  source.addEventListener("message", ({ data }) => {
    const run = JSON.parse(data);
    if (run?.state === "running") return show(run);
    source.close();
    load().catch((error) => say(error.message, true));
  });
  source.addEventListener("error", () => say("The server cannot be reached; trying again …", true));
}

async function start(ids) {
  try {
    show(await ask("/api/indexing", JSON.stringify(ids ? { ids } : {})));
    begun = ids?.[0];
    at("stop").focus();
    watch();
  } catch (error) {
    say(error.message, true);
  }
}

at("all").addEventListener("click", () => start());
at("stop").addEventListener("click", async () => {
  try {
    await ask("/api/indexing/stop", "");
  } catch (error) {
    say(error.message, true);
  }
});
load().catch((error) => say(error.message, true));
