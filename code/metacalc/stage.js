// @ts-check
// The view of a stage: finds where the marks are for the sliders' positions, and draws them. Every number comes from
// Python: as a table over the positions, or as a formula that SymPy printed.

/**
 * What Python's Stage sends, described here alone. The model has the traits `spec`; `pictures`, an SVG for every figure;
 * `table`, the bytes of all arrays; and under each slider's name the value that it stands at.
 *
 * @typedef {object} Spec
 * @property {string} alt  what the picture shows, in words
 * @property {string} text  the readout at the start, for a page without a script
 * @property {Slider[]} sliders  one to eight
 * @property {number} play  index of the slider that the play button moves
 * @property {Mark[]} marks
 * @property {Segment[]} readout
 * @property {Record<string, Field>} fields
 * @property {Run[]} runs  what is iterated
 * @property {Guess} [guess]
 *
 * @typedef {object} Slider
 * @property {string} name
 * @property {string} label
 * @property {number[]} values  increasing
 * @property {number} value  the one of them to start at
 * @property {string} format  of a value
 * @property {string} unit  behind a value, or ""
 * @property {string[]} names  written instead of the values; or none
 *
 * @typedef {PointMark | ArrowMark | LineMark} Mark
 *
 * @typedef {object} AnyMark
 * @property {number} panel  index of its picture
 * @property {number[]} box  left, top, width and height of its axes, in units of the picture
 * @property {(Place | Live)[]} coordinates  float16: x, y and, of an arrow, its head's; fractions of the box from its centre,
 *   y upwards
 * @property {string} color  a name of the palette
 * @property {string} [toggle]  label of the checkbox that switches it off
 *
 * `name` is what the readout calls the mark, `drag` has the indices of the sliders that dragging it moves.
 * @typedef {AnyMark & {kind: "point", shape: "o" | "s" | "^" | "D", size: number, name: string, drag?: number[],
 *   hollow?: boolean}} PointMark
 * @typedef {AnyMark & Line & {kind: "arrow", name: string, drag?: number[]}} ArrowMark
 *
 * A path grows along a slider, of the index `along`; `dot` is the diameter of the dots, or 0.
 * @typedef {AnyMark & Line & {dot: number} & ({kind: "path", along: number} | {kind: "curve"})} LineMark
 *
 * @typedef {object} Line
 * @property {number} width
 * @property {string} dash  as of stroke-dasharray
 *
 * @typedef {[text: string, field: string | null, format: string]} Segment
 *
 * @typedef {object} Field
 * @property {Place | Live} at  float64; with labels uint32, indices into them
 * @property {string[]} [labels]
 *
 * An array in `table`, little-endian: first byte, type, and shape with an axis for every slider, of length 1 where it
 * changes nothing, and for a curve one along it.
 * @typedef {[offset: number, kind: "float16" | "uint32" | "float64", shape: number[]]} Place
 *
 * A formula in JavaScript, as SymPy prints it: p has the sliders' positions, s the state of the run, t its number of steps,
 * c the parameter along a curve. With a scale the ends of the axis and whether it is logarithmic.
 * @typedef {object} Live
 * @property {string} value
 * @property {number} [run]  index of what is iterated before
 * @property {Place} [over]  values of c; without them a line joins the states of all steps
 * @property {[low: number, high: number, log: number]} [scale]
 *
 * What a reader may predict before it is shown: a coordinate in the axes with this box.
 * @typedef {object} Guess
 * @property {string} question
 * @property {number} panel
 * @property {AnyMark["box"]} box
 * @property {"x" | "y"} axis
 * @property {[low: number, high: number, log: number]} scale  as of Live
 * @property {Place | Live} answer  float64
 * @property {string} format  of guess and answer
 * @property {number[]} hides  indices of the marks that would tell
 *
 * @typedef {object} Run
 * @property {string[]} start  of each variable of the state
 * @property {string[]} update
 * @property {number} [slider]  index of the one whose position is the number of steps
 * @property {number} [count]  or that number
 */

/**
 * @typedef {ReturnType<typeof readTable>} Table
 * @typedef {object} Source  where numbers come from
 * @property {(index: number[]) => number} at  a position of the sliders
 * @property {(index: number[], along?: number) => {count: number, at: (i: number) => number}} line  the points of a line there
 * @typedef {object} States
 * @property {(index: number[], c: number) => {states: number[][], steps: number}} at
 * @property {(slider: number) => boolean} uses
 * @typedef {ReturnType<typeof makeCanvas>} Canvas
 * @typedef {object} Grip
 * @property {Grip[]} among  all of its axes
 * @property {(x: number, y: number) => void} hold  in units of the picture; the others take fractions of the box
 * @property {(x: number, y: number) => void} bring
 * @property {(event: PointerEvent | MouseEvent) => [x: number, y: number]} fractions
 * @property {(x: number, y: number) => number} distance
 * @typedef {(index: number[]) => string} Draw  draws at a position, and returns what the readout has to say of it, or ""
 *
 * @typedef {object} Model
 * @property {(name: string) => any} get
 * @property {(name: string, value: number) => void} set
 * @property {() => void} save_changes
 * @property {(event: string, listener: () => void) => void} on
 * @property {(event: string, listener: () => void) => void} off
 */

const SVG = "http://www.w3.org/2000/svg";
const READERS = { float16: Uint16Array, uint32: Uint32Array, float64: Float64Array };
const SPEEDS = [0.25, 0.5, 1, 2, 4];

/**
 * An English text in the language of the page, if that has brought other words, with values in place of its {names}.
 * @param {string} text @param {Record<string, string | number>} [values]
 */
function t(text, values = {}) {
  const words = /** @type {any} */ (globalThis).metacalcWords?.[text] ?? text;
  return words.replace(/\{(\w+)\}/g, (/** @type {string} */ whole, /** @type {string} */ name) => values[name] ?? whole);
}

/** @param {number} bits */
function fromHalf(bits) {
  const exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const size = exponent === 31 ? (fraction ? NaN : Infinity)
    : exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024);
  return bits & 32768 ? -size : size;
}

/**
 * A table with one axis a slider, and any that follow: `at(index)` is where its entries for a position begin.
 * @param {ArrayBufferView} view @param {Place} place @param {number} rank
 */
function readTable(view, [offset, kind, shape], rank) {
  const size = shape.reduce((a, b) => a * b, 1), Reader = READERS[kind];
  // Copied, for an array begins at a multiple of its type's size.
  const raw = new Reader(new Uint8Array(view.buffer, view.byteOffset + offset, size * Reader.BYTES_PER_ELEMENT).slice().buffer);
  const values = kind === "float16" ? Float32Array.from(raw, fromHalf) : raw;
  const strides = shape.map((n, i) => (n === 1 ? 0 : shape.slice(i + 1).reduce((a, b) => a * b, 1)));
  return {
    values, strides, length: shape.slice(rank).reduce((a, b) => a * b, 1),
    at: (/** @type {number[]} */ index) => index.reduce((sum, k, i) => sum + k * strides[i], 0),
  };
}

/** @param {Table} table @returns {Source} */
function tableSource({ values, strides, length, at }) {
  const stride = Number(length > 1);
  return {
    at: (index) => values[at(index)],
    line: (index, along) => {
      const path = along !== undefined, start = at(path ? moved(index, along, 0) : index), step = path ? strides[along] : stride;
      return { count: path ? index[along] + 1 : length, at: (i) => values[start + i * step] };
    },
  };
}

/** @param {string[]} codes @returns {(p: number[], s: number[], t: number, c: number) => number[]} */
const compiled = (codes) => /** @type {any} */ (new Function("p", "s", "t", "c", `"use strict"; return [${codes}];`));

/**
 * The states of a run at a position, and whether they depend on a slider; the last ones are kept, for many marks ask.
 * @param {Run} run @param {Slider[]} sliders @returns {States}
 */
function makeRun({ start, update, slider, count = 0 }, sliders) {
  const first = compiled(start), next = compiled(update);
  // Where the number of steps is in no formula, the states of all steps serve every position of its slider.
  const inCode = (/** @type {number} */ i) => [...start, ...update].some((code) => code.includes(`p[${i}]`));
  const whole = slider !== undefined && !inCode(slider);
  const most = slider === undefined ? count : Math.max(...sliders[slider].values);
  let key = "", /** @type {number[][]} */ kept = [];
  const at = (/** @type {number[]} */ index, /** @type {number} */ c) => {
    const p = sliders.map(({ values }, i) => values[index[i]]), steps = slider === undefined ? count : p[slider];
    const now = `${whole ? moved(index, slider, 0) : index};${c}`;
    if (now !== key) {
      kept = [first(p, [], 0, c)];
      for (let t = 0; t < (whole ? most : steps); t++) kept.push(next(p, kept[t], t, c));
      key = now;
    }
    return { states: kept, steps };
  };
  return { at, uses: (i) => i === slider || inCode(i) };
}

/**
 * @param {Live} live @param {States[]} runs @param {Slider[]} sliders @param {ArrayBufferView} view @returns {Source}
 */
function liveSource({ value, run, over, scale }, runs, sliders, view) {
  const code = compiled([value]), parameters = over && Array.from(readTable(view, over, 0).values);
  let key = "none", /** @type {number[]} */ kept = [];  // a line over parameters, until a slider that it depends on moves
  const placed = (/** @type {number} */ x) => {
    if (!scale || Number.isNaN(x)) return x;
    const [low, high, log] = scale, on = log ? (x > 0 ? Math.log10(Math.min(x, 1e300)) : -1000) : Math.max(-1e300, Math.min(1e300, x));
    return Math.max(-6e4, Math.min(6e4, (on - low) / (high - low) - 0.5));
  };
  const uses = (/** @type {number} */ i) => value.includes(`p[${i}]`) || (run !== undefined && runs[run].uses(i));
  const positions = (/** @type {number[]} */ index) => sliders.map(({ values }, i) => values[index[i]]);
  const at = (/** @type {number[]} */ index, c = 0) => {
    if (run === undefined) return placed(code(positions(index), [], 0, c)[0]);
    const { states, steps } = runs[run].at(index, c);
    return placed(code(positions(index), states[steps], steps, c)[0]);
  };
  return {
    at,
    line: (index) => {
      if (parameters) {
        const now = String(index.filter((_, i) => uses(i)));
        if (now !== key) [key, kept] = [now, parameters.map((c) => at(index, c))];
        return { count: kept.length, at: (i) => kept[i] };
      }
      if (run === undefined) return { count: 1, at: () => at(index) };
      const { states, steps } = runs[run].at(index, 0), p = positions(index);
      return { count: steps + 1, at: (i) => placed(code(p, states[i], i, 0)[0]) };
    },
  };
}

/**
 * A function that gives the source of a place.
 * @param {Pick<Spec, "sliders" | "runs">} spec @param {ArrayBufferView} view
 * @returns {(place: Place | Live) => Source}
 */
function makeSources({ sliders, runs = [] }, view) {
  const made = runs.map((run) => makeRun(run, sliders));
  return (place) => (Array.isArray(place) ? tableSource(readTable(view, place, sliders.length))
    : liveSource(place, made, sliders, view));
}

/** @param {number[]} index @param {number} axis @param {number} k */
const moved = (index, axis, k) => index.map((j, i) => (i === axis ? k : j));

/**
 * `value` with n decimals or, for negative n, rounded to a power of ten, and to even where it lies just between two:
 * JavaScript rounds these up, Python to even. (Exact: a tie is an odd multiple of half a unit.)
 * @param {number} value @param {number} n @param {(value: number) => string} write
 */
function rounded(value, n, write) {
  const halves = n >= 0 ? value * 2 ** (n + 1) : 2 * value / 10 ** -n;
  const text = write(value), digit = Number(/\d(?=e|$)/.exec(text));
  const tie = Number.isInteger(halves) && Math.abs(halves % 2) === 1;
  return tie && digit % 2 ? write(value * (1 - Number.EPSILON / 2)) : text;
}

/**
 * The formats d, .nf, .ne and .ng as Python writes them, and s, the ending of a plural.
 * @param {number} value @param {string} spec
 */
function format(value, spec) {
  if (spec === "s") return value === 1 ? "" : "s";
  if (!Number.isFinite(value)) return Number.isNaN(value) ? t("not a number") : value > 0 ? "∞" : "−∞";
  const kind = spec.at(-1), digits = Number(spec.slice(1, -1));
  const fixed = (/** @type {number} */ n) => (Math.abs(value) < 1e21 ? rounded(value, n, (v) => v.toFixed(n))
    : BigInt(value) + (n ? "." + "0".repeat(n) : ""));
  const exponent = (/** @type {number} */ n) => Number(value.toExponential(n).split("e")[1]);
  const scientific = (/** @type {number} */ n) => rounded(value, n - exponent(n), (v) => v.toExponential(n))
    .replace(/e([+-])(\d)$/, "e$10$2");
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

/**
 * @template {keyof SVGElementTagNameMap} Name
 * @param {Name} name @param {object} attributes @param {Element} parent
 */
function svgElement(name, attributes, parent) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

/**
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name @param {object} attributes @param {Element} [parent]
 */
function htmlElement(name, attributes, parent) {
  const element = Object.assign(document.createElement(name), attributes);
  parent?.append(element);
  return element;
}

/** @type {Record<string, number[][]>} */
const POLYGONS = {
  s: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]], "^": [[0, -1.1], [1.05, 0.85], [-1.05, 0.85]],
  D: [[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]], ">": [[1.2, 0], [-0.6, -0.9], [-0.6, 0.9]],
};

/** @param {string} shape @param {number} x @param {number} y @param {number} radius */
function shapePath(shape, x, y, radius, angle = 0) {
  const arc = `a${radius},${radius} 0 1 0 `;
  if (shape === "o") return `M${x - radius},${y}${arc}${2 * radius},0${arc}${-2 * radius},0z`;
  const [c, s] = [Math.cos(angle) * radius, Math.sin(angle) * radius];
  return "M" + POLYGONS[shape].map(([u, v]) => `${x + c * u - s * v},${y + s * u + c * v}`).join("L") + "z";
}

/** @param {Mark} spec */
const colorOf = (spec) => `var(--stage-${spec.color})`;
/** @param {ArrowMark | LineMark} spec */
const lineOf = (spec) => ({
  fill: "none", stroke: colorOf(spec), "stroke-width": spec.width, "stroke-dasharray": spec.dash, "stroke-linejoin": "round",
});
/** @param {Source[]} sources @param {number[]} index */
const entries = (sources, index) => sources.map((source) => source.at(index));

/**
 * What a mark draws on: an <svg> within the picture's, which clips to the axes as matplotlib does, and the places there.
 * @param {Mark} spec @param {Element} svg @param {ReturnType<typeof makeSources>} sourceOf
 */
function makeCanvas(spec, svg, sourceOf) {
  const [x, y, width, height] = spec.box;
  return {
    width, height, sources: spec.coordinates.map(sourceOf),
    group: svgElement("svg", {
      x, y, width, height, class: "stage-mark", "data-mark": spec.kind, "data-toggle": spec.toggle ?? "",
    }, svg),
    across: (/** @type {number} */ fraction) => (0.5 + fraction) * width,
    down: (/** @type {number} */ fraction) => (0.5 - fraction) * height,
    /** Takes what a pointer can drag along. @type {(x: number, y: number) => void} */
    hold: () => {},
  };
}

/** @param {PointMark} spec @param {Canvas} canvas @returns {Draw} */
function point(spec, canvas) {
  const { width, height, across, down } = canvas, radius = spec.size / 2;
  const paper = "var(--stage-paper)";
  const look = spec.hollow ? { fill: paper, stroke: colorOf(spec), "stroke-width": 1.6 }
    : { fill: colorOf(spec), stroke: paper, "stroke-width": 1 };
  const shape = svgElement("path", look, canvas.group);
  return (index) => {
    const [u, v] = entries(canvas.sources, index);
    if (Number.isNaN(u) || Number.isNaN(v)) {
      shape.setAttribute("d", "");
      return t("{name} is no longer a number", { name: spec.name });
    }
    const edge = [u, v].map((fraction) => Math.min(0.5, Math.max(-0.5, fraction)));
    const away = [u - edge[0], v - edge[1]];
    canvas.hold(across(edge[0]), down(edge[1]));
    if (!away[0] && !away[1]) {
      shape.setAttribute("d", shapePath(spec.shape, across(u), down(v), radius));
      return "";
    }
    const inset = [1 - 2 * radius / width, 1 - 2 * radius / height];
    shape.setAttribute("d", shapePath(">", across(edge[0] * inset[0]), down(edge[1] * inset[1]), radius * 1.3,
      Math.atan2(-away[1] * height, away[0] * width)));
    return t("{name} has left the picture", { name: spec.name });
  };
}

/** @param {ArrowMark} spec @param {Canvas} canvas @returns {Draw} */
function arrow(spec, canvas) {
  const { width, height, across, down, group } = canvas;
  const shaft = svgElement("path", lineOf(spec), group), head = svgElement("path", { fill: colorOf(spec) }, group);
  return (index) => {
    const [u, v, p, q] = entries(canvas.sources, index);
    const from = [across(u), down(v)], end = [across(p), down(q)];
    // Where it leaves the picture, its head stands at the edge.
    const stay = Math.min(1, ...[0, 1].map((i) => {
      const [way, limit] = [end[i] - from[i], end[i] > from[i] ? [width, height][i] : 0];
      return way ? Math.max(0, (limit - from[i]) / way) : 1;
    }));
    const to = [0, 1].map((i) => from[i] + stay * (end[i] - from[i]));
    const length = Math.hypot(to[0] - from[0], to[1] - from[1]), visible = length > 0.5;
    const angle = Math.atan2(to[1] - from[1], to[0] - from[0]), size = Math.min(5.5, length / 2);
    canvas.hold(to[0], to[1]);
    const neck = [to[0] - 1.2 * size * Math.cos(angle), to[1] - 1.2 * size * Math.sin(angle)];
    shaft.setAttribute("d", visible ? `M${from}L${neck}` : "");
    head.setAttribute("d", visible ? shapePath(">", neck[0], neck[1], size, angle) : "");
    return stay < 1 ? t("{name} points out of the picture", { name: spec.name }) : "";
  };
}

/**
 * Points joined, with their dots; a line breaks where a coordinate is not a number.
 * @param {LineMark} spec @param {Canvas} canvas @returns {Draw}
 */
function line(spec, { across, down, group, sources }) {
  const stroke = svgElement("path", lineOf(spec), group);
  const dots = spec.dot ? svgElement("path", { fill: colorOf(spec) }, group) : null;
  const round = (/** @type {number} */ place) => Math.round(place * 100) / 100;
  const along = spec.kind === "path" ? spec.along : undefined;
  return (index) => {
    const [xs, ys] = sources.map((source) => source.line(index, along)), count = Math.max(xs.count, ys.count);
    let d = "", spots = "", pen = "M";
    for (let i = 0; i < count; i++) {
      const u = xs.at(i), v = ys.at(i);
      if (Number.isNaN(u) || Number.isNaN(v)) { pen = "M"; continue; }
      const x = round(across(u)), y = round(down(v));
      d += `${pen}${x},${y}`;
      if (dots) spots += shapePath("o", x, y, spec.dot / 2);
      pen = "L";
    }
    stroke.setAttribute("d", d);
    dots?.setAttribute("d", spots);
    return "";
  };
}

/** @type {Record<Mark["kind"], (spec: any, canvas: Canvas) => Draw>} */
const MARKS = { point, arrow, path: line, curve: line };

/**
 * Dragging a mark, or a click beside it, moves its sliders to the position whose mark is nearest to the pointer. (The
 * sliders themselves serve the keyboard.) Returns how to move what the pointer takes hold of, and how to bring the mark
 * near to a place in the picture.
 * @param {PointMark | ArrowMark} spec @param {SVGSVGElement} svg @param {Canvas} canvas
 * @param {Slider[]} sliders @param {() => number[]} position @param {(index: number[]) => void} moveTo
 */
function makeDraggable(spec, svg, { group, sources, width, height }, sliders, position, moveTo) {
  const drag = spec.drag ?? [], [u, v] = spec.kind === "arrow" ? sources.slice(2) : sources;
  const grip = svgElement("circle", { r: 11, class: "stage-grip" }, group);
  const distance = (/** @type {number[]} */ index, /** @type {number} */ x, /** @type {number} */ y) =>
    Math.hypot((u.at(index) - x) * width, (v.at(index) - y) * height);
  const bring = (/** @type {number} */ x, /** @type {number} */ y) => {
    let best = position();
    // One slider after the other, twice: after that a mark that each of two sliders moves along one axis is there.
    for (const slider of drag.length > 1 ? [...drag, ...drag] : drag) {
      let nearest = Infinity;
      const from = best;
      for (let k = 0; k < sliders[slider].values.length; k++) {
        const there = moved(from, slider, k), far = distance(there, x, y);
        if (far < nearest) [best, nearest] = [there, far];
      }
    }
    moveTo(best);
  };
  const fractions = (/** @type {PointerEvent | MouseEvent} */ event) => {
    const pointer = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM()?.inverse());
    return /** @type {[number, number]} */ ([(pointer.x - spec.box[0]) / width - 0.5, 0.5 - (pointer.y - spec.box[1]) / height]);
  };
  let centre = [0, 0];
  /** @type {Grip} */
  const made = {
    among: [], bring, fractions,
    hold: (x, y) => {
      centre = [x, y];
      grip.setAttribute("cx", String(x));
      grip.setAttribute("cy", String(y));
    },
    distance: (x, y) => Math.hypot((0.5 + x) * width - centre[0], (0.5 - y) * height - centre[1]),
  };
  let held = made;
  grip.addEventListener("pointerdown", (event) => {
    grip.setPointerCapture(event.pointerId);
    event.preventDefault();
    held = nearestOf(made.among, fractions(event)) ?? made;  // for a finger grips are large and lie over one another
  });
  grip.addEventListener("pointermove", (event) => {
    if (grip.hasPointerCapture(event.pointerId)) held.bring(...fractions(event));
  });
  return made;
}

/**
 * Of those that are as near, to half a unit of the picture, the topmost: places are rounded.
 * @param {Grip[]} grips @param {[x: number, y: number]} place
 */
function nearestOf(grips, place) {
  const far = grips.map((grip) => grip.distance(...place)), least = Math.min(...far);
  return grips.filter((_, i) => far[i] <= least + 0.5).at(-1);
}

/**
 * A click in the axes of marks that can be dragged brings the nearest of them there. Made before the marks, whose grips are
 * above it; returns how to add a grip to those in the axes of a mark.
 * @param {Mark[]} marks @param {SVGSVGElement[]} pictures
 */
function makePads(marks, pictures) {
  const pads = /** @type {Record<string, Grip[]>} */ ({});
  const key = (/** @type {Mark} */ mark) => [mark.panel, ...mark.box].join();
  for (const mark of marks) {
    if (!("drag" in mark) || pads[key(mark)]) continue;
    const [x, y, width, height] = mark.box, grips = pads[key(mark)] = /** @type {Grip[]} */ ([]);
    const pad = svgElement("rect", { x, y, width, height, class: "stage-pad" }, pictures[mark.panel]);
    pad.addEventListener("click", (event) => {
      const place = grips[0].fractions(event);
      nearestOf(grips, place)?.bring(...place);
    });
  }
  return (/** @type {Mark} */ mark, /** @type {Grip} */ grip) => {
    grip.among = pads[key(mark)];
    grip.among.push(grip);
  };
}

/**
 * A box for every label whose marks can be switched off; returns the labels that are, and how to show all again.
 * @param {Spec} spec @param {Element} panels @param {Element} controls @param {() => void} draw
 */
function makeToggles(spec, panels, controls, draw) {
  const labels = [...new Set(spec.marks.flatMap((mark) => mark.toggle ?? []))];
  const hidden = /** @type {Set<string | undefined>} */ (new Set());
  if (!labels.length) return { hidden, showAll: () => {} };
  const row = htmlElement("fieldset", { className: "stage-toggles" }, controls);
  htmlElement("legend", { textContent: t("show") }, row);
  const boxes = labels.map((name) => {
    const label = htmlElement("label", {}, row);
    const box = htmlElement("input", { type: "checkbox", checked: true, name }, label);
    label.append(name);
    const apply = () => {
      hidden[box.checked ? "delete" : "add"](name);
      const groups = /** @type {NodeListOf<SVGElement>} */ (panels.querySelectorAll(".stage-mark"));
      for (const group of groups) if (group.dataset.toggle === name) group.style.display = box.checked ? "" : "none";
    };
    box.addEventListener("change", () => { apply(); draw(); });
    return { box, apply };
  });
  return { hidden, showAll: () => { for (const { box, apply } of boxes) { box.checked = true; apply(); } draw(); } };
}

/**
 * The play button, the reset button and the speed.
 * @param {Spec} spec @param {() => number[]} position @param {(slider: number, k: number) => void} moveTo
 * @param {() => void} stopped @param {() => void} showAll
 */
function makePlayer(spec, position, moveTo, stopped, showAll) {
  const slider = spec.sliders[spec.play], last = slider.values.length - 1;
  const bar = htmlElement("div", { className: "stage-player" });
  const button = htmlElement("button", { type: "button", className: "stage-play" }, bar);
  const reset = htmlElement("button", { type: "button", className: "stage-reset", textContent: t("Reset") }, bar);
  const label = htmlElement("label", { className: "stage-speed" }, bar);
  htmlElement("span", { textContent: t("speed") }, label);
  const speed = htmlElement("select", {}, label);
  for (const s of SPEEDS) htmlElement("option", { value: s, textContent: `${s}×`, selected: s === 1 }, speed);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let frame = 0, since = 0;
  const show = () => {
    button.textContent = frame ? `❚❚ ${t("Pause")}` : `▶ ${t("Play")}`;
    button.setAttribute("aria-label", `${frame ? t("Pause") : t("Play")} ${slider.label}`);
  };
  const pause = () => {
    if (!frame) return;
    cancelAnimationFrame(frame);
    frame = 0;
    show();
    stopped();
  };
  const tick = (/** @type {number} */ now) => {
    const pace = Math.min(20, Math.max(2, last / 6)) * Number(speed.value);
    const interval = 1000 / (calm.matches ? Math.min(2, pace) : pace);
    const steps = Math.floor((now - since) / interval);
    if (steps > 0) {
      since = steps > 3 ? now : since + steps * interval;  // a tab that slept does not catch up
      moveTo(spec.play, Math.min(last, position()[spec.play] + Math.min(steps, 3)));
    }
    if (position()[spec.play] < last) frame = requestAnimationFrame(tick);
    else pause();
  };
  button.addEventListener("click", () => {
    if (frame) return pause();
    if (position()[spec.play] === last) moveTo(spec.play, 0);
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

/**
 * Predict first, then see: a button hides what tells, the reader sets a guess by a slider or a click in the axes, and a
 * second button shows what is true beside it. Returns what the readout then says, and how to end it.
 * @param {Guess} guess @param {SVGSVGElement[]} pictures @param {SVGElement[]} groups  the marks'
 * @param {ReturnType<typeof makeSources>} sourceOf @param {Element} bar  of the buttons
 * @param {() => number[]} position @param {() => void} changed
 */
function makeGuess(guess, pictures, groups, sourceOf, bar, position, changed) {
  const LAST = 200, answer = sourceOf(guess.answer), [low, high, log] = guess.scale, [x, y, width, height] = guess.box;
  const along = guess.axis === "x", svg = pictures[guess.panel];
  const frame = svgElement("svg", { x, y, width, height, class: "stage-guess-mark" }, svg);
  const line = svgElement("path", { class: "stage-guess-line" }, frame);
  const pad = svgElement("rect", { width, height, class: "stage-pad" }, frame);
  const button = htmlElement("button", { type: "button", className: "stage-guess" });
  bar.querySelector(".stage-reset")?.after(button);
  const label = htmlElement("label", { className: "stage-slider" });
  htmlElement("span", { className: "stage-label", textContent: t("your guess") }, label);
  const input = htmlElement("input", { type: "range", min: 0, max: LAST, step: 1, value: LAST / 2, name: "guess" }, label);
  const value = htmlElement("span", { className: "stage-value" }, label);
  input.setAttribute("aria-label", t("Your guess: {question}", { question: guess.question }));
  input.dataset.lmSuppressShortcuts = "true";
  let state = "off";
  const guessed = () => {
    const there = low + (high - low) * Number(input.value) / LAST;
    return log ? 10 ** there : there;
  };
  const show = (/** @type {string} */ now) => {
    state = now;
    groups.forEach((group, i) => group.classList.toggle("stage-hidden", state === "asked" && guess.hides.includes(i)));
    frame.style.display = state === "off" ? "none" : "";
    pad.style.display = state === "asked" ? "" : "none";
    button.textContent = state === "asked" ? t("Show what is true") : t("Predict first");
    if (state !== "asked") label.remove();
    else if (!label.isConnected) bar.after(label);  // to move it would take the keyboard from it
    const at = Number(input.value) / LAST;
    line.setAttribute("d", along ? `M${at * width},0v${height}` : `M0,${(1 - at) * height}h${width}`);
    value.textContent = format(guessed(), guess.format);
    input.setAttribute("aria-valuetext", value.textContent);
  };
  button.addEventListener("click", () => {
    show(state === "asked" ? "told" : "asked");
    if (state === "asked") input.focus();
    changed();
  });
  input.addEventListener("input", () => show("asked"));
  pad.addEventListener("click", (event) => {
    const pointer = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM()?.inverse());
    const at = along ? (pointer.x - x) / width : 1 - (pointer.y - y) / height;
    input.value = String(Math.round(at * LAST));
    show("asked");
  });
  show("off");
  return {
    end: () => show("off"),
    asking: () => state === "asked",
    said: () => (state === "asked" ? t("{question} Click in the picture or move the slider, then look.", { question: guess.question })
      : state === "told" ? t("You guessed {guess}; it is {answer}.", {
        guess: format(guessed(), guess.format), answer: format(answer.at(position()), guess.format) }) : ""),
  };
}

/**
 * The pictures within `panels`, each an <svg>, without the marks that stand in them until a script draws others.
 * @param {string[]} pictures @param {Element} panels
 */
function makePictures(pictures, panels) {
  return pictures.map((picture) => {
    const panel = htmlElement("div", { className: "stage-panel", innerHTML: picture }, panels);
    const svg = /** @type {SVGSVGElement} */ (panel.querySelector("svg"));
    for (const painted of svg.querySelectorAll(".stage-mark")) {
      painted.querySelectorAll("defs").forEach((shared) => svg.prepend(shared));  // the legend may use them
      painted.remove();
    }
    svg.setAttribute("aria-hidden", "true");
    return svg;
  });
}

/**
 * One slider's row; returns how to show that it stands at k.
 * @param {Slider} slider @param {Element} controls @param {() => void} touched @param {(k: number) => void} moveTo
 */
function makeSlider({ name, label, values, names, format: spec, unit }, controls, touched, moveTo) {
  const row = htmlElement("label", { className: "stage-slider" }, controls);
  htmlElement("span", { className: "stage-label", textContent: label }, row);
  const input = htmlElement("input", { type: "range", min: 0, max: values.length - 1, step: 1, name }, row);
  const value = htmlElement("span", { className: "stage-value" }, row);
  input.setAttribute("aria-label", label);
  input.dataset.lmSuppressShortcuts = "true";  // JupyterLab would take the arrow keys
  input.addEventListener("pointerdown", touched);
  input.addEventListener("input", () => {
    const k = Number(input.value);  // before what is touched pauses and draws, which puts the slider back
    touched();
    moveTo(k);
  });
  return (/** @type {number} */ k) => {
    const text = names[k] ?? format(values[k], spec) + (unit ? ` ${unit}` : "");
    input.value = String(k);
    value.textContent = text;
    input.setAttribute("aria-valuetext", text);
  };
}

/**
 * The text of the readout at a position.
 * @param {Spec} spec @param {ReturnType<typeof makeSources>} sourceOf @returns {(index: number[]) => string}
 */
function makeReadout(spec, sourceOf) {
  const fields = Object.fromEntries(Object.entries(spec.fields).map(
    ([name, { at, labels }]) => [name, { source: sourceOf(at), labels }]));
  return (index) => spec.readout.map(([text, name, how]) => {
    if (name === null) return text;
    const { source, labels } = fields[name], value = source.at(index);
    return text + (labels ? labels[value] : format(value, how));
  }).join("");
}

/** @param {{model: Model, el: HTMLElement}} place @returns {() => void} what ends it */
function render({ model, el }) {
  /** @type {Spec} */
  const spec = model.get("spec");
  const table = model.get("table"), view = new DataView(table.buffer ?? table, table.byteOffset ?? 0);
  el.classList.add("stage");
  el.replaceChildren();
  const panels = htmlElement("div", { className: "stage-panels" }, el);
  panels.setAttribute("role", "img");
  panels.setAttribute("aria-label", spec.alt);
  const pictures = makePictures(model.get("pictures"), panels);
  const controls = htmlElement("div", { className: "stage-controls" }, el);
  controls.setAttribute("role", "group");
  controls.setAttribute("aria-label", t("Controls of the figure: {figure}", { figure: spec.alt.split(/[.。]/)[0] }));

  const positionOf = (/** @type {Slider} */ slider) => {
    const value = model.get(slider.name), distance = slider.values.map((v) => Math.abs(v - value));
    return distance.indexOf(Math.min(...distance));
  };
  const index = spec.sliders.map(positionOf);
  const pauseFor = (/** @type {number} */ i) => { if (i === spec.play) player.pause(); };
  const shows = spec.sliders.map((slider, i) => makeSlider(slider, controls, () => pauseFor(i), (k) => moveTo(i, k)));
  const sourceOf = makeSources(spec, view), addToPad = makePads(spec.marks, pictures);
  const canvases = spec.marks.map((mark) => makeCanvas(mark, pictures[mark.panel], sourceOf));
  spec.marks.forEach((mark, i) => {
    if (!("drag" in mark) || !mark.drag) return;
    const grip = makeDraggable(mark, pictures[mark.panel], canvases[i], spec.sliders, () => [...index], (to) => {
      mark.drag?.forEach(pauseFor);
      moveAll(to);
    });
    canvases[i].hold = grip.hold;
    addToPad(mark, grip);
  });
  const draws = spec.marks.map((mark, i) => MARKS[mark.kind](mark, canvases[i]));
  const { hidden, showAll } = makeToggles(spec, panels, controls, draw);
  const player = makePlayer(spec, () => index, moveTo, draw, () => { guess?.end(); showAll(); draw(); });
  controls.prepend(player.bar);
  const guess = spec.guess && makeGuess(spec.guess, pictures, canvases.map(({ group }) => group), sourceOf, player.bar,
    () => index, draw);
  const readout = htmlElement("output", { className: "stage-readout" }, el), textAt = makeReadout(spec, sourceOf);

  function draw() {
    const all = draws.map((drawMark) => drawMark(index));
    const remarks = new Set(all.filter((remark, i) => remark && !hidden.has(spec.marks[i].toggle)));
    readout.setAttribute("aria-live", player.playing() ? "off" : "polite");
    const told = guess?.asking() ? [guess.said()] : [textAt(index), guess?.said(), ...[...remarks].map((remark) => t("{remark}.", { remark }))];
    readout.textContent = told.filter(Boolean).join("\n");
    shows.forEach((show, i) => show(index[i]));
  }
  /** @param {number[]} to */
  function moveAll(to) {
    const changed = spec.sliders.filter((_, i) => index[i] !== to[i]);
    if (!changed.length) return;
    index.splice(0, index.length, ...to);
    if (!guess?.asking()) guess?.end();
    draw();
    changed.forEach((slider) => model.set(slider.name, slider.values[index[spec.sliders.indexOf(slider)]]));
    model.save_changes();
  }
  /** @param {number} i @param {number} k */
  function moveTo(i, k) { moveAll(moved(index, i, k)); }
  const unlisten = spec.sliders.map((slider, i) => {
    const event = `change:${slider.name}`, listener = () => {
      const k = positionOf(slider);
      if (k !== index[i]) { index[i] = k; draw(); }
    };
    model.on(event, listener);
    return () => model.off(event, listener);
  });
  draw();
  return () => {
    player.pause();
    unlisten.forEach((end) => end());
  };
}

export { MARKS, format, fromHalf, makeCanvas, makeSources, readTable };
export default { render };
