// The view of a stage: looks up where the marks are for the sliders' positions, and draws them. Every number comes
// from Python, as a table over the positions; places are fractions of an axes' box, (0, 0) at its centre.

const SVG = "http://www.w3.org/2000/svg";
const READERS = { float16: Uint16Array, uint32: Uint32Array, float64: Float64Array };
const SPEEDS = [0.25, 0.5, 1, 2, 4];

function fromHalf(bits) {
  const exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const size = exponent === 31 ? (fraction ? NaN : Infinity)
    : exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024);
  return bits & 32768 ? -size : size;
}

// A table with one axis a slider, and any that follow: `at(index)` is where its entries for a position begin.
function readTable(view, [offset, kind, shape], rank) {
  const size = shape.reduce((a, b) => a * b, 1), bytes = READERS[kind].BYTES_PER_ELEMENT;
  let values = new READERS[kind](view.buffer.slice(view.byteOffset + offset, view.byteOffset + offset + size * bytes));
  if (kind === "float16") values = Float32Array.from(values, fromHalf);
  const strides = shape.map((n, i) => (n === 1 ? 0 : shape.slice(i + 1).reduce((a, b) => a * b, 1)));
  return {
    values, strides, length: shape.slice(rank).reduce((a, b) => a * b, 1),
    at: (index) => index.reduce((sum, k, i) => sum + k * strides[i], 0),
  };
}

// `value` with n decimals or, for negative n, rounded to a power of ten, and to even where it lies just between two:
// JavaScript rounds these up, Python to even. (Exact: a tie is an odd multiple of half a unit.)
function rounded(value, n, write) {
  const halves = n >= 0 ? value * 2 ** (n + 1) : 2 * value / 10 ** -n;
  const text = write(value), digit = Number(text.match(/(\d)(?:e|$)/)[1]);
  const tie = Number.isInteger(halves) && Math.abs(halves % 2) === 1;
  return tie && digit % 2 ? write(value * (1 - Number.EPSILON / 2)) : text;
}

// The formats d, .nf, .ne and .ng as Python writes them, and s, the ending of a plural.
function format(value, spec) {
  if (spec === "s") return value === 1 ? "" : "s";
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "not a number" : value > 0 ? "∞" : "−∞";
  const kind = spec.at(-1), digits = Number(spec.slice(1, -1));
  const fixed = (n) => (Math.abs(value) < 1e21 ? rounded(value, n, (v) => v.toFixed(n))
    : BigInt(value) + (n ? "." + "0".repeat(n) : ""));
  const exponent = (n) => Number(value.toExponential(n).split("e")[1]);
  const scientific = (n) => rounded(value, n - exponent(n), (v) => v.toExponential(n)).replace(/e([+-])(\d)$/, "e$10$2");
  let text;
  if (kind === "d") text = fixed(0);
  else if (kind === "f") text = fixed(digits);
  else if (kind === "e") text = scientific(digits);
  else {
    const precision = Math.max(1, digits), power = exponent(precision - 1);
    text = power >= -4 && power < precision ? fixed(precision - 1 - power) : scientific(precision - 1);
    text = text.replace(/(\.\d*?)0+(?=e|$)/, "$1").replace(/\.(?=e|$)/, "");
  }
  return text.replace(/^-(?=[0.]*(e|$))/, "").replaceAll("-", "−");
}

function svgElement(name, attributes, parent) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent?.append(element);
  return element;
}

function htmlElement(name, attributes, parent) {
  const element = Object.assign(document.createElement(name), attributes);
  parent?.append(element);
  return element;
}

const POLYGONS = {
  s: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]], "^": [[0, -1.1], [1.05, 0.85], [-1.05, 0.85]],
  D: [[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]], ">": [[1.2, 0], [-0.6, -0.9], [-0.6, 0.9]],
};

function shapePath(shape, x, y, radius, angle = 0) {
  if (shape === "o") return `M${x - radius},${y}a${radius},${radius} 0 1 0 ${2 * radius},0a${radius},${radius} 0 1 0 ${-2 * radius},0z`;
  const [c, s] = [Math.cos(angle) * radius, Math.sin(angle) * radius];
  return "M" + POLYGONS[shape].map(([u, v]) => `${x + c * u - s * v},${y + s * u + c * v}`).join("L") + "z";
}

// Dragging a mark moves its slider to the position whose mark is nearest to the pointer. (The slider itself serves
// the keyboard.)
function makeDraggable(spec, svg, group, tables, size, position, moveTo) {
  const [u, v] = spec.kind === "arrow" ? tables.slice(2) : tables;
  const grip = svgElement("circle", { r: 11, class: "stage-grip" }, group);
  grip.addEventListener("pointerdown", (event) => {
    grip.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  grip.addEventListener("pointermove", (event) => {
    if (!grip.hasPointerCapture(event.pointerId)) return;
    const pointer = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const [x, y] = [(pointer.x - spec.box[0]) / size[0] - 0.5, 0.5 - (pointer.y - spec.box[1]) / size[1]];
    let best = 0, nearest = Infinity;
    for (let k = 0; k < size[2]; k++) {
      const there = position().with(spec.drag, k);
      const distance = Math.hypot((u.values[u.at(there)] - x) * size[0], (v.values[v.at(there)] - y) * size[1]);
      if (distance < nearest) [best, nearest] = [k, distance];
    }
    moveTo(spec.drag, best);
  });
  return (x, y) => {
    grip.setAttribute("cx", x);
    grip.setAttribute("cy", y);
  };
}

// One mark: its elements, and `draw(index)`, which returns what the readout has to say of it.
function makeMark(spec, svg, view, lengths, position, moveTo) {
  const [x0, y0, width, height] = spec.box;
  const color = `var(--stage-${spec.color})`;
  // A nested <svg> clips to the axes, as matplotlib does.
  const group = svgElement("svg", { x: x0, y: y0, width, height, class: "stage-mark", "data-mark": spec.kind, "data-toggle": spec.toggle ?? "" }, svg);
  const tables = spec.coordinates.map((place) => readTable(view, place, lengths.length));
  const round = (places) => Math.round(places * 100) / 100;
  const across = (fraction) => (0.5 + fraction) * width, down = (fraction) => (0.5 - fraction) * height;
  const line = { fill: "none", stroke: color, "stroke-width": spec.width, "stroke-dasharray": spec.dash ?? "", "stroke-linejoin": "round" };

  const hold = spec.drag === undefined ? () => 0
    : makeDraggable(spec, svg, group, tables, [width, height, lengths[spec.drag]], position, moveTo);

  if (spec.kind === "point") {
    const shape = svgElement("path", { fill: color, stroke: "var(--stage-paper)", "stroke-width": 1 }, group);
    return (index) => {
      const [u, v] = tables.map((t) => t.values[t.at(index)]);
      if (Number.isNaN(u) || Number.isNaN(v)) {
        shape.setAttribute("d", "");
        return `${spec.name} is no longer a number`;
      }
      const edge = [Math.min(0.5, Math.max(-0.5, u)), Math.min(0.5, Math.max(-0.5, v))];
      const away = [u - edge[0], v - edge[1]];
      const radius = spec.size / 2;
      hold(across(edge[0]), down(edge[1]));
      if (!away[0] && !away[1]) {
        shape.setAttribute("d", shapePath(spec.shape, across(u), down(v), radius));
        return "";
      }
      const inset = [1 - 2 * radius / width, 1 - 2 * radius / height];
      shape.setAttribute("d", shapePath(">", across(edge[0] * inset[0]), down(edge[1] * inset[1]), radius * 1.3,
        Math.atan2(-away[1] * height, away[0] * width)));
      return `${spec.name} has left the picture`;
    };
  }
  if (spec.kind === "arrow") {
    const shaft = svgElement("path", line, group), head = svgElement("path", { fill: color }, group);
    return (index) => {
      const [u, v, p, q] = tables.map((t) => t.values[t.at(index)]);
      const from = [across(u), down(v)], end = [across(p), down(q)];
      // Where it leaves the picture, its head stands at the edge.
      const stay = Math.min(1, ...[0, 1].map((i) => {
        const [way, limit] = [end[i] - from[i], end[i] > from[i] ? [width, height][i] : 0];
        return way ? Math.max(0, (limit - from[i]) / way) : 1;
      }));
      const to = [0, 1].map((i) => from[i] + stay * (end[i] - from[i]));
      const length = Math.hypot(to[0] - from[0], to[1] - from[1]), visible = length > 0.5;
      const angle = Math.atan2(to[1] - from[1], to[0] - from[0]), size = Math.min(5.5, length / 2);
      hold(...to);
      const neck = [to[0] - 1.2 * size * Math.cos(angle), to[1] - 1.2 * size * Math.sin(angle)];
      shaft.setAttribute("d", visible ? `M${from}L${neck}` : "");
      head.setAttribute("d", visible ? shapePath(">", neck[0], neck[1], size, angle) : "");
      return stay < 1 ? `${spec.name} points out of the picture` : "";
    };
  }
  const curve = svgElement("path", line, group);
  const dots = spec.dot ? svgElement("path", { fill: color }, group) : null;
  return (index) => {
    const along = spec.along;
    const start = along === undefined ? index : index.map((k, i) => (i === along ? 0 : k));
    const count = along === undefined ? Math.max(...tables.map((t) => t.length)) : index[along] + 1;
    const [xs, ys] = tables.map((t) => ({ t, from: t.at(start), by: along === undefined ? Number(t.length > 1) : t.strides[along] }));
    let d = "", spots = "", pen = "M";
    for (let i = 0; i < count; i++) {
      const u = xs.t.values[xs.from + i * xs.by], v = ys.t.values[ys.from + i * ys.by];
      if (Number.isNaN(u) || Number.isNaN(v)) { pen = "M"; continue; }
      const x = round(across(u)), y = round(down(v));
      d += `${pen}${x},${y}`;
      if (dots) spots += shapePath("o", x, y, spec.dot / 2);
      pen = "L";
    }
    curve.setAttribute("d", d);
    dots?.setAttribute("d", spots);
    return "";
  };
}

// A box for every label whose marks can be switched off; returns the labels that are, and how to show all again.
function makeToggles(spec, panels, controls, draw) {
  const labels = [...new Set(spec.marks.map((mark) => mark.toggle).filter(Boolean))], hidden = new Set();
  if (!labels.length) return { hidden, showAll: () => {} };
  const row = htmlElement("fieldset", { className: "stage-toggles" }, controls);
  htmlElement("legend", { textContent: "show" }, row);
  const boxes = labels.map((name) => {
    const label = htmlElement("label", {}, row);
    const box = htmlElement("input", { type: "checkbox", checked: true, name }, label);
    label.append(name);
    const apply = () => {
      hidden[box.checked ? "delete" : "add"](name);
      for (const group of panels.querySelectorAll(".stage-mark")) if (group.dataset.toggle === name) group.style.display = box.checked ? "" : "none";
    };
    box.addEventListener("change", () => { apply(); draw(); });
    return { box, apply };
  });
  return { hidden, showAll: () => { for (const { box, apply } of boxes) { box.checked = true; apply(); } draw(); } };
}

function makePlayer(spec, values, moveTo, stopped, showAll) {
  const slider = spec.sliders[spec.play], last = slider.values.length - 1;
  const bar = htmlElement("div", { className: "stage-player" });
  const button = htmlElement("button", { type: "button", className: "stage-play" }, bar);
  const reset = htmlElement("button", { type: "button", className: "stage-reset", textContent: "Reset" }, bar);
  const label = htmlElement("label", { className: "stage-speed" }, bar);
  htmlElement("span", { textContent: "speed" }, label);
  const speed = htmlElement("select", {}, label);
  for (const s of SPEEDS) htmlElement("option", { value: s, textContent: `${s}×`, selected: s === 1 }, speed);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let frame = 0, since = 0;
  const show = () => {
    button.textContent = frame ? "❚❚ Pause" : "▶ Play";
    button.setAttribute("aria-label", `${frame ? "Pause" : "Play"} ${slider.label}`);
  };
  const pause = () => {
    if (!frame) return;
    cancelAnimationFrame(frame);
    frame = 0;
    show();
    stopped();
  };
  const tick = (now) => {
    const pace = Math.min(20, Math.max(2, last / 6)) * Number(speed.value);
    const interval = 1000 / (calm.matches ? Math.min(2, pace) : pace);
    const steps = Math.floor((now - since) / interval);
    if (steps > 0) {
      since = steps > 3 ? now : since + steps * interval;  // a tab that slept does not catch up
      moveTo(spec.play, Math.min(last, values()[spec.play] + Math.min(steps, 3)));
    }
    if (values()[spec.play] < last) frame = requestAnimationFrame(tick);
    else pause();
  };
  button.addEventListener("click", () => {
    if (frame) return pause();
    if (values()[spec.play] === last) moveTo(spec.play, 0);
    since = performance.now();
    frame = requestAnimationFrame(tick);
    show();
  });
  reset.addEventListener("click", () => {
    pause();
    showAll();
    spec.sliders.forEach((s, i) => moveTo(i, s.values.indexOf(s.value)));
  });
  show();
  return { bar, pause, playing: () => frame !== 0 };
}

function render({ model, el }) {
  const spec = model.get("spec"), view = new DataView(model.get("table").buffer ?? model.get("table"), model.get("table").byteOffset ?? 0);
  const rank = spec.sliders.length;
  el.classList.add("stage");
  el.replaceChildren();
  const panels = htmlElement("div", { className: "stage-panels" }, el);
  panels.setAttribute("role", "img");
  panels.setAttribute("aria-label", spec.alt);
  const pictures = model.get("pictures").map((picture) => {
    const panel = htmlElement("div", { className: "stage-panel", innerHTML: picture }, panels);
    const svg = panel.querySelector("svg");
    for (const painted of svg.querySelectorAll(".stage-mark")) {
      painted.querySelectorAll("defs").forEach((shared) => svg.prepend(shared));  // the legend may use them
      painted.remove();
    }
    svg.setAttribute("aria-hidden", "true");
    return svg;
  });
  const fields = Object.fromEntries(Object.entries(spec.fields).map(([name, { at, labels }]) => [name, { table: readTable(view, at, rank), labels }]));

  const controls = htmlElement("div", { className: "stage-controls" }, el);
  controls.setAttribute("role", "group");
  controls.setAttribute("aria-label", `Controls of the figure: ${spec.alt.split(".")[0]}`);
  const written = (slider, i) => slider.names[i] ?? format(slider.values[i], slider.format) + (slider.unit ? ` ${slider.unit}` : "");
  const positionOf = (slider) => {
    const value = model.get(slider.name), distance = slider.values.map((v) => Math.abs(v - value));
    return distance.indexOf(Math.min(...distance));
  };
  const index = spec.sliders.map(positionOf);
  const inputs = spec.sliders.map((slider, i) => {
    const row = htmlElement("label", { className: "stage-slider" }, controls);
    htmlElement("span", { className: "stage-label", textContent: slider.label }, row);
    const input = htmlElement("input", { type: "range", min: 0, max: slider.values.length - 1, step: 1, name: slider.name }, row);
    const value = htmlElement("span", { className: "stage-value" }, row);
    input.setAttribute("aria-label", slider.label);
    input.dataset.lmSuppressShortcuts = "true";  // JupyterLab would take the arrow keys
    input.addEventListener("pointerdown", () => { if (i === spec.play) player.pause(); });
    input.addEventListener("input", () => {
      if (i === spec.play) player.pause();
      moveTo(i, Number(input.value));
    });
    return { input, value };
  });
  const lengths = spec.sliders.map((slider) => slider.values.length);
  const draws = spec.marks.map((mark) => makeMark(mark, pictures[mark.panel], view, lengths, () => index, (i, k) => {
    if (i === spec.play) player.pause();
    moveTo(i, k);
  }));
  const { hidden, showAll } = makeToggles(spec, panels, controls, draw);
  const player = makePlayer(spec, () => index, moveTo, draw, showAll);
  controls.prepend(player.bar);
  const readout = htmlElement("output", { className: "stage-readout" }, el);

  function draw() {
    const remarks = new Set(draws.map((drawMark) => drawMark(index)).filter((remark, i) => remark && !hidden.has(spec.marks[i].toggle)));
    const text = spec.readout.map(([literal, name, how]) => {
      if (name === null) return literal;
      const { table, labels } = fields[name], value = table.values[table.at(index)];
      return literal + (labels ? labels[value] : format(value, how));
    }).join("");
    readout.setAttribute("aria-live", player.playing() ? "off" : "polite");
    readout.textContent = [text, ...[...remarks].map((r) => `${r}.`)].filter(Boolean).join("\n");
    inputs.forEach(({ input, value }, i) => {
      input.value = index[i];
      value.textContent = written(spec.sliders[i], index[i]);
      input.setAttribute("aria-valuetext", value.textContent);
    });
  }
  function moveTo(i, k) {
    if (index[i] === k) return;
    index[i] = k;
    draw();
    model.set(spec.sliders[i].name, spec.sliders[i].values[k]);
    model.save_changes();
  }
  const listeners = spec.sliders.map((slider, i) => {
    const listener = () => {
      const k = positionOf(slider);
      if (k !== index[i]) { index[i] = k; draw(); }
    };
    model.on(`change:${slider.name}`, listener);
    return [`change:${slider.name}`, listener];
  });
  draw();
  return () => {
    player.pause();
    listeners.forEach(([name, listener]) => model.off(name, listener));
  };
}

export default { render };
