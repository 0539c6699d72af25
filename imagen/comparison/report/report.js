"use strict";
// The report of one comparison. All text is set as text, never as HTML.

const { axes, cells } = JSON.parse(document.getElementById("data").textContent);
const byPlace = new Map(cells.map((cell) => [cell.place.join(), cell]));
const get = (id) => document.getElementById(id);
// Which axes are columns and rows; the others are pages.
const view = {
  columns: 0,
  rows: axes.length > 1 ? 1 : -1,
  sort: axes.map(() => "given"),
  hidden: axes.map(() => new Set()),
};

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function shownValues(axis) {
  const { values } = axes[axis];
  const shown = values.map((_, number) => number).filter((number) => !view.hidden[axis].has(number));
  if (view.sort[axis] === "given") return shown;
  const direction = view.sort[axis] === "falling" ? -1 : 1;
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  return shown.sort((a, b) => {
    const [one, other] = [values[a].sort, values[b].sort];
    const numbers = typeof one === "number" && typeof other === "number";
    return direction * (numbers ? one - other : compare(String(one), String(other)));
  });
}

function combine(numbers) {
  return numbers.reduce(
    (places, axis) => places.flatMap((place) => shownValues(axis).map((value) => [...place, [axis, value]])),
    [[]],
  );
}

const label = (axis, value) => `${axes[axis].name === "backend" ? "" : `${axes[axis].name} `}${axes[axis].values[value].text}`;

// --- cells ---

function differingParameters() {
  const hidden = (cell) => cell.place.some((value, axis) => view.hidden[axis].has(value));
  const seen = new Map();
  const shown = cells.filter((cell) => cell.images.length && !hidden(cell));
  const names = new Set(shown.flatMap((cell) => Object.keys(cell.parameters)));
  for (const name of names) seen.set(name, new Set(shown.map((cell) => cell.parameters[name] ?? "")));
  const varied = new Set(axes.flatMap((axis) => axis.parameters));
  return [...names].filter((name) => seen.get(name).size > 1 && !varied.has(name));
}

function drawFrame(image, alt) {
  const picture = make("img", { src: image.src, alt, loading: "lazy", decoding: "async", draggable: false });
  if (image.width && image.height) Object.assign(picture, { width: image.width, height: image.height });
  const frame = make("div", { className: "frame", tabIndex: 0 }, picture);
  frame.setAttribute("role", "group");
  frame.setAttribute("aria-label", `${alt}: zoom with + and -, move with the arrow keys`);
  picture.addEventListener("error", () => {
    frame.classList.add("broken");
    frame.replaceChildren(`The image ${image.name} cannot be shown: it is missing or damaged.`);
  });
  return frame;
}

function drawCell(cell, differing, alt) {
  const td = make("td");
  if (!cell) return make("td", {}, make("p", { textContent: "Not generated yet." }));
  for (const image of cell.images) td.append(drawFrame(image, alt));
  if (cell.error) td.append(make("p", { className: "error", textContent: cell.error }));
  if (cell.summary) td.append(make("p", { textContent: cell.summary }));
  const changed = differing.filter((name) => name in cell.parameters);
  const text = changed.map((name) => `${name} ${cell.parameters[name]}`).join(" · ");
  if (text) td.append(make("p", { className: "changed", textContent: text }));
  if (cell.notes.length) {
    const items = cell.notes.map((note) => make("li", { textContent: note }));
    const title = make("summary", { textContent: `Remarks (${items.length})` });
    td.append(make("details", {}, title, make("ul", {}, ...items)));
  }
  return td;
}

// --- tables ---

function drawTable(page, differing) {
  const columns = combine([view.columns]);
  const rows = view.rows < 0 ? [[]] : combine([view.rows]);
  const header = (places, scope) => {
    const th = make("th", { scope }, make("div", { textContent: places.map((place) => label(...place)).join(", ") }));
    return th;
  };
  const head = make("tr", {}, ...columns.map((column) => header(column, "col")));
  if (view.rows >= 0) head.prepend(make("td", { className: "corner" }));
  const body = rows.map((row) => {
    const tr = make("tr");
    if (view.rows >= 0) tr.append(header(row, "row"));
    for (const column of columns) {
      const places = [...page, ...row, ...column];
      const place = axes.map((_, axis) => places.find(([other]) => other === axis)[1]);
      const alt = axes.map((_, axis) => label(axis, place[axis])).join(", ");
      tr.append(drawCell(byPlace.get(place.join()), differing, alt));
    }
    return tr;
  });
  const title = page.map((place) => label(...place)).join(", ");
  const table = make("table", {}, make("caption", { textContent: title || get("title").textContent }));
  table.append(make("thead", {}, head), make("tbody", {}, ...body));
  return make("section", {}, ...(title ? [make("h2", { textContent: title })] : []), table);
}

function draw() {
  const pages = combine(axes.map((_, axis) => axis).filter((axis) => axis !== view.columns && axis !== view.rows));
  const differing = differingParameters();
  get("grids").replaceChildren(...pages.map((page) => drawTable(page, differing)));
}

// --- axes: which are columns and rows, their order, and hidden values ---

function makeSelect(text, choices, chosen, onChange) {
  const options = choices.map(([value, name]) => make("option", { value, textContent: name, selected: value === chosen }));
  const select = make("select", {}, ...options);
  select.addEventListener("change", () => onChange(select.value));
  return make("label", {}, `${text} `, select);
}

function drawAxes() {
  const fields = axes.map((axis, number) => {
    const place = number === view.columns ? "columns" : number === view.rows ? "rows" : "pages";
    const places = [["columns", "columns"], ["rows", "rows"], ["pages", "pages"]].slice(0, Math.min(axes.length, 3));
    const move = (target) => {
      const other = target === "pages" ? axes.findIndex((_, one) => one !== view.columns && one !== view.rows) : view[target];
      if (place !== "pages") view[place] = other;
      if (target !== "pages") view[target] = number;
      drawAxes();
      draw();
    };
    const sort = (order) => { view.sort[number] = order; draw(); };
    const orders = [["given", "as given"], ["rising", "rising"], ["falling", "falling"]];
    const boxes = axis.values.map((value, at) => {
      const box = make("input", { type: "checkbox", checked: !view.hidden[number].has(at) });
      box.addEventListener("change", () => {
        if (box.checked) view.hidden[number].delete(at);
        else view.hidden[number].add(at);
        draw();
      });
      return make("label", {}, box, ` ${value.text}`);
    });
    const field = make("fieldset", {}, make("legend", { textContent: axis.name }));
    if (axes.length > 1) field.append(makeSelect("Shown as", places, place, move));
    field.append(makeSelect("Order", orders, view.sort[number], sort), make("div", {}, ...boxes));
    return field;
  });
  get("axes").replaceChildren(...fields);
}

// --- zoom: one for all images; x and y are percent of an image's own size ---

const zoom = { z: 1, x: 0, y: 0 };

function setZoom(z, x, y) {
  zoom.z = Math.min(Math.max(z, 1), 64);
  const least = -100 * (zoom.z - 1);
  zoom.x = Math.min(Math.max(x, least), 0);
  zoom.y = Math.min(Math.max(y, least), 0);
  for (const name of ["z", "x", "y"]) get("grids").style.setProperty(`--${name}`, zoom[name]);
  get("grids").classList.toggle("zoomed", zoom.z > 1);
  get("zoom").textContent = `${Math.round(zoom.z * 100)} %`;
}

function zoomBy(factor, px = 50, py = 50) {
  const z = Math.min(Math.max(zoom.z * factor, 1), 64);
  setZoom(z, px - ((px - zoom.x) / zoom.z) * z, py - ((py - zoom.y) / zoom.z) * z);
}

function zoomToPixels() {
  const picture = document.querySelector(".frame img");
  if (picture?.naturalWidth) zoomBy(picture.naturalWidth / picture.offsetWidth / devicePixelRatio / zoom.z);
}

function percentIn(frame, event) {
  const box = frame.getBoundingClientRect();
  return [(100 * (event.clientX - box.left)) / box.width, (100 * (event.clientY - box.top)) / box.height];
}

const frameOf = (event) => event.target.closest?.(".frame");
const panBy = (frame, dx, dy) => setZoom(zoom.z, zoom.x + (100 * dx) / frame.offsetWidth, zoom.y + (100 * dy) / frame.offsetHeight);

function listen() {
  const grids = get("grids");
  grids.addEventListener("wheel", (event) => {
    const frame = frameOf(event);
    if (!frame || (!event.ctrlKey && zoom.z === 1)) return;
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), ...percentIn(frame, event));
  }, { passive: false });
  grids.addEventListener("dblclick", (event) => {
    const frame = frameOf(event);
    if (frame && zoom.z === 1) zoomBy(3, ...percentIn(frame, event));
    else if (frame) setZoom(1, 0, 0);
  });
  let dragged = null;
  grids.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "touch" && event.button === 0 && zoom.z > 1) dragged = frameOf(event);
    dragged?.setPointerCapture(event.pointerId);
  });
  grids.addEventListener("pointermove", (event) => { if (dragged) panBy(dragged, event.movementX, event.movementY); });
  for (const end of ["pointerup", "pointercancel"]) grids.addEventListener(end, () => { dragged = null; });
  let last = null;
  const touchOf = ([one, two = one]) => ({
    clientX: (one.clientX + two.clientX) / 2, clientY: (one.clientY + two.clientY) / 2,
    span: Math.hypot(one.clientX - two.clientX, one.clientY - two.clientY), fingers: one === two ? 1 : 2,
  });
  grids.addEventListener("touchstart", (event) => { last = touchOf(event.touches); }, { passive: true });
  grids.addEventListener("touchmove", (event) => {
    const frame = frameOf(event);
    const now = touchOf(event.touches);
    if (!frame || (now.fingers === 1 && zoom.z === 1)) return;
    event.preventDefault();
    if (last?.fingers === now.fingers) {
      panBy(frame, now.clientX - last.clientX, now.clientY - last.clientY);
      if (now.fingers === 2) zoomBy(now.span / last.span, ...percentIn(frame, now));
    }
    last = now;
  }, { passive: false });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    const steps = { ArrowLeft: [12, 0], ArrowRight: [-12, 0], ArrowUp: [0, 12], ArrowDown: [0, -12] };
    const actions = { "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), 0: () => setZoom(1, 0, 0), 1: zoomToPixels };
    if (event.key in actions) actions[event.key]();
    else if (event.key in steps && zoom.z > 1 && frameOf(event)) setZoom(zoom.z, zoom.x + steps[event.key][0], zoom.y + steps[event.key][1]);
    else return;
    event.preventDefault();
  });
  get("zoom-in").addEventListener("click", () => zoomBy(1.5));
  get("zoom-out").addEventListener("click", () => zoomBy(1 / 1.5));
  get("fit").addEventListener("click", () => setZoom(1, 0, 0));
  get("pixels").addEventListener("click", zoomToPixels);
  get("size").addEventListener("input", (event) => document.documentElement.style.setProperty("--w", `${event.target.value}px`));
  get("options").addEventListener("click", (event) => {
    get("axes").hidden = !get("axes").hidden;
    event.target.setAttribute("aria-expanded", String(!get("axes").hidden));
  });
}

drawAxes();
draw();
listen();
const firstCell = document.querySelector("main td:not(.corner)");
if (firstCell) get("size").value = firstCell.offsetWidth;
