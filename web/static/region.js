// Drawing a region in a photo: with a pointer, or by numbers.

export function drawable(canvas, done) {
  const image = canvas.querySelector("img");
  const box = document.createElement("div");
  box.className = "box";
  let from = null;
  const at = (event) => {
    const frame = image.getBoundingClientRect();
    return [
      Math.min(1, Math.max(0, (event.clientX - frame.left) / frame.width)),
      Math.min(1, Math.max(0, (event.clientY - frame.top) / frame.height)),
    ];
  };
  const between = (one, other) => [0, 1].map((axis) => [Math.min(one[axis], other[axis]), Math.abs(one[axis] - other[axis])]);
  const place = (left, top, width, height) => Object.assign(box.style, {
    left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * width}%`, height: `${100 * height}%`,
  });
  const show = (to) => {
    const [[left, width], [top, height]] = between(from, to);
    place(left, top, width, height);
  };
  // Show "x,y,width,height" in pixels of the picture, or nothing.
  const mark = async (region) => {
    box.remove();
    if (!region) return;
    await image.decode().catch(() => {});
    const [x, y, width, height] = region.split(",").map(Number);
    place(x / image.naturalWidth, y / image.naturalHeight, width / image.naturalWidth, height / image.naturalHeight);
    canvas.append(box);
  };
  const begin = (event) => {
    event.preventDefault();
    from = at(event);
    canvas.setPointerCapture(event.pointerId);
    canvas.append(box);
    show(from);
  };
  const end = (event) => {
    if (!from) return;
    const [[x, width], [y, height]] = between(from, at(event));
    from = null;
    if (width > 0.02 && height > 0.02) done({ x, y, width, height });
    else box.remove();
  };
  canvas.addEventListener("pointerdown", (event) => canvas.classList.contains("drawing") && begin(event));
  canvas.addEventListener("pointermove", (event) => from && show(at(event)));
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", () => { from = null; box.remove(); });
  return { mark };
}

// The same by numbers, for those who use no pointer.
export function byNumbers(form, done) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const said = new FormData(form);
    done(["x", "y", "w", "h"].map((name) => said.get(name)).join(","));
  });
}

// In pixels of a picture, from shares of its sides.
export function pixels({ x, y, width, height }, wide, high) {
  const left = Math.min(Math.floor(x * wide), wide - 1), top = Math.min(Math.floor(y * high), high - 1);
  const w = Math.max(1, Math.min(Math.round(width * wide), wide - left));
  const h = Math.max(1, Math.min(Math.round(height * high), high - top));
  return `${left},${top},${w},${h}`;
}
