// A justified grid of any number of photos, of which only the rows near the window are in the page.

import { element, nameOf } from "./api.js";

const GAP = 6;
const AROUND = 900; // pixels above and below the window that are filled too
const NARROW = 68; // two buttons beside each other would leave too little of a photo to be touched

export class Grid {
  // `more` is called when the end is near and returns a promise; `act(photo, liked)` where a photo is to be (un)liked.
  constructor(list, { more = null, act = null } = {}) {
    this.list = list;
    this.more = more;
    this.act = act;
    this.photos = [];
    this.places = [];
    this.shown = new Map();
    this.asking = false;
    this.ended = true; // until there is something to show
    this.width = 0;
    this.height = 0;
    addEventListener("scroll", () => this.later(), { passive: true });
    new ResizeObserver(() => this.list.clientWidth !== this.width && this.layout()).observe(list);
    list.addEventListener("keydown", (event) => this.move(event));
  }

  set(photos, { ended = false } = {}) {
    const tile = this.list.contains(document.activeElement) ? document.activeElement.closest("li") : null;
    const id = tile && this.photos[tile.dataset.number].id;
    this.leave();
    for (const tile of this.shown.values()) tile.remove();
    this.shown.clear();
    this.photos = [...photos];
    this.ended = ended;
    this.width = 0;
    this.layout();
    if (tile) this.focus(Math.max(0, photos.findIndex((photo) => photo.id === id)));
  }

  // Wait no more for pictures of tiles: a browser has few connections, which others need now.
  leave(tiles = this.shown.values()) {
    for (const tile of tiles) {
      const image = tile.querySelector("img");
      if (!image.complete) image.removeAttribute("src");
    }
  }

  // Where the keyboard is must not be lost: on a photo, or before where photos would be.
  focus(number) {
    if (this.places[number]) {
      this.place(number);
      this.shown.get(number).querySelector("a").focus();
    } else this.list.closest("main").focus();
  }

  append(photos, { ended = false } = {}) {
    for (const photo of photos) this.photos.push(photo);
    this.ended = ended;
    this.layout();
  }

  // What lies before the last row stays where it is, unless the width is another.
  layout() {
    const width = this.list.clientWidth;
    if (!width) return;
    if (width !== this.width) this.last = { number: 0, top: 0 };
    this.width = width;
    const wanted = width < 600 ? 130 : 210;
    let { number, top } = this.last, row = [], ratios = 0;
    this.places.length = number;
    // Whole pixels: edges are sharp, and nothing is left behind when a row moves.
    const close = (most) => {
      const exact = Math.min(most, (width - GAP * (row.length - 1)) / ratios), height = Math.round(exact);
      let from = 0;
      for (const ratio of row) {
        const to = from + ratio * exact, left = Math.round(from);
        this.places.push({ left, top, width: Math.round(to) - left, height });
        from = to + GAP;
      }
      top += height + GAP;
      row = [];
      ratios = 0;
    };
    for (; number < this.photos.length; number++) {
      const photo = this.photos[number];
      const ratio = Math.min(3, Math.max(0.4, photo.width / photo.height || 1));
      row.push(ratio);
      ratios += ratio;
      if (ratios * wanted + GAP * (row.length - 1) >= width) {
        close(Infinity);
        this.last = { number: number + 1, top };
      }
    }
    if (row.length) close(wanted);
    this.height = top;
    this.list.style.height = `${top}px`;
    this.render();
  }

  later() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.render();
    });
  }

  // What is in the page is measured once, before it is changed.
  render() {
    const { top } = this.list.getBoundingClientRect();
    const start = -top - AROUND;
    const end = start + innerHeight + 2 * AROUND;
    let low = 0, high = this.places.length; // the places are sorted from top to bottom
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.places[middle].top + this.places[middle].height < start) low = middle + 1;
      else high = middle;
    }
    const wanted = new Set();
    for (let number = low; number < this.places.length && this.places[number].top < end; number++) wanted.add(number);
    for (const [number, tile] of this.shown) {
      if (!wanted.has(number) && !tile.contains(document.activeElement)) {
        this.leave([tile]);
        tile.remove();
        this.shown.delete(number);
      }
    }
    for (const number of wanted) this.place(number);
    const near = top + this.height < innerHeight + 2 * AROUND;
    if (near && !this.ended && this.more && !this.asking) {
      this.asking = true;
      this.more().catch(() => { this.ended = true; }).finally(() => {
        this.asking = false;
        this.later();
      });
    }
  }

  place(number) {
    let tile = this.shown.get(number);
    if (!tile) {
      tile = this.tile(number);
      this.shown.set(number, tile);
      // In the order of the photos, which is that of the keyboard.
      const next = [...this.list.children].find((other) => Number(other.dataset.number) > number);
      this.list.insertBefore(tile, next ?? null);
    }
    const { left, top, width, height } = this.places[number];
    tile.style.transform = `translate(${left}px, ${top}px)`;
    tile.style.width = `${width}px`;
    tile.style.height = `${height}px`;
    tile.classList.toggle("narrow", width < NARROW);
  }

  tile(number) {
    const photo = this.photos[number];
    const name = nameOf(photo.path);
    const score = photo.score ?? photo.probability;
    const tile = element("li", { "aria-setsize": this.ended ? this.photos.length : -1, "aria-posinset": number + 1 },
      element("a", { href: `/photos/${photo.id}`, title: name },
        element("img", { src: photo.thumbnail, alt: score === undefined ? name : `${name}, ${score.toFixed(2)}`, decoding: "async" })));
    tile.dataset.number = number;
    if (score !== undefined) tile.append(element("span", { className: "score", textContent: score.toFixed(2), "aria-hidden": "true" }));
    if (this.act) {
      const button = (liked, sign, words) => {
        const made = element("button", { type: "button", title: words, "aria-label": `${words}: ${name}`, textContent: sign });
        made.addEventListener("click", () => this.act(photo, liked));
        return made;
      };
      tile.append(element("div", { className: "acts" }, button(true, "+", "More like this"), button(false, "−", "Not like this")));
    }
    return tile;
  }

  move(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const tile = event.target.closest("li");
    if (!step || !tile || event.altKey || event.ctrlKey || event.metaKey) return;
    const number = Number(tile.dataset.number) + step;
    if (number < 0 || number >= this.photos.length) return;
    event.preventDefault();
    this.focus(number);
  }
}
