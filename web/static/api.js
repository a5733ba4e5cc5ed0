// Asking the server, and small helpers for the pages.

export async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", body };
  if (typeof body === "string") options.headers = { "content-type": "application/json" };
  let reply;
  try {
    reply = await fetch(path, options);
  } catch {
    throw new Error("The server cannot be reached.");
  }
  const answer = await reply.json().catch(() => ({ error: `the server answered with status ${reply.status}` }));
  if (!reply.ok) throw new Error(sentence(answer.error));
  return answer;
}

export const sentence = (text) => text && text[0].toUpperCase() + text.slice(1).replace(/\.?$/, ".");

export function search({ like = [], unlike = [], label = "", text = "", folder = "", since = "", until = "", region = "", files = [], k = 60 }) {
  const form = new FormData();
  for (const id of like) form.append("ids", id);
  for (const id of unlike) form.append("unlike", id);
  for (const [name, value] of Object.entries({ label, text, folder, since, until, region })) if (value) form.append(name, value);
  for (const file of files) form.append("photo", file, file.name || "photo");
  form.append("k", k);
  form.append("collapse", "true");
  return ask("/api/search", form);
}

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("aria-") || key === "for") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

// Show other elements in a list. Where the keyboard was on one of them, it is on that in its place then.
export function replace(list, elements, otherwise) {
  const place = [...list.children].findIndex((child) => child.contains(document.activeElement));
  list.replaceChildren(...elements);
  if (place >= 0) (elements[Math.min(place, elements.length - 1)]?.querySelector("button") ?? otherwise).focus();
}

export const nameOf = (path) => path.split("/").pop();

// As `fc7 classify` tells them: labels of the user's own, terms, then other classes. Those of a group whose term is none
// of them are guesses.
export function told({ predictions, terms }) {
  const same = (one) => (other) => ["label", "id", "group"].every((key) => one[key] === other[key]);
  const classes = predictions.filter(({ group }) => group !== "own");
  const sure = new Set(classes.filter((found) => terms.some(same(found))).map(({ group }) => group));
  return [
    ...predictions.filter(({ group }) => group === "own"),
    ...terms,
    ...classes.filter((found) => !terms.some(same(found))).map((found) => ({ ...found, guess: !sure.has(found.group) })),
  ];
}

export const spoken = ({ label, guess, group }) => label + (guess ? "?" : "") + (group ? ` (${group})` : "");

export function names(answer) {
  const all = told(answer);
  const unsure = all[0]?.guess ? [element("li", { className: "quiet", textContent: "unsure" })] : [];
  return element("ul", { className: "names" }, ...unsure, ...all.map((found) =>
    element("li", {},
      element("a", { href: `/?label=${encodeURIComponent(found.label)}`, textContent: spoken(found) }),
      element("meter", { min: 0, max: 1, value: found.probability, "aria-label": `probability of ${found.label}` }),
      element("span", { textContent: `${(100 * found.probability).toFixed(0)} %` }))));
}
