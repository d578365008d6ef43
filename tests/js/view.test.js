// The whole view on a page of a few lines: a stage that Python made, with a model that remembers what it was told.

import assert from "node:assert/strict";
import test from "node:test";
import { Element, clock, pass } from "./dom.js";
import { expected, stage } from "./stage.js";

const { spec, table, readouts } = expected.stage;
const STEP = 500;  // milliseconds that a step of the played slider takes
const TURN = 0, LEVEL = 1, LAST = spec.sliders[TURN].values.length - 1;

class Model {
  constructor(state) { Object.assign(this, { state, listeners: [], saved: 0 }); }
  get(name) { return this.state[name]; }
  set(name, value) { this.state[name] = value; }
  save_changes() { this.saved += 1; }
  on(event, listener) { this.listeners.push([event, listener]); }
  off(event, listener) { this.listeners = this.listeners.filter(([e, l]) => e !== event || l !== listener); }
  /** The kernel moves a slider. */
  arrive(name, value) {
    this.set(name, value);
    for (const [event, listener] of this.listeners) if (event === `change:${name}`) listener();
  }
}

function live() {
  Object.assign(clock, { now: 0, frame: null });
  const model = new Model({
    spec, table: new DataView(new Uint8Array(Buffer.from(table, "base64")).buffer), pictures: ["<svg></svg>", "<svg></svg>"],
    ...Object.fromEntries(spec.sliders.map((slider) => [slider.name, slider.value])),
  });
  const el = new Element("div"), end = stage.default.render({ model, el });
  const inputs = el.querySelectorAll("input").filter((input) => input.type === "range");
  const [readout] = el.querySelectorAll(".stage-readout"), [button] = el.querySelectorAll(".stage-play");
  return {
    model, el, end, inputs, readout, button, said: () => readout.textContent,
    standing: () => inputs.map((input) => Number(input.value)),
    kept: () => spec.sliders.map((slider) => slider.values.indexOf(model.get(slider.name))),
    move(i, k) { inputs[i].value = String(k); inputs[i].dispatch("input"); },
    playing: () => button.textContent.includes("Pause"),
    drawn: () => el.querySelectorAll("path").map((path) => path.getAttribute("d")).join("|"),
  };
}

test("every mark stands in the picture of its axes", () => {
  const panels = live().el.querySelectorAll(".stage-panel");
  assert.deepEqual(panels.map((panel) => panel.querySelectorAll(".stage-mark").map((mark) => mark.dataset.mark)),
    [0, 1].map((i) => spec.marks.filter((mark) => mark.panel === i).map((mark) => mark.kind)));
});

test("the readout is Python's at every position, and moves what the sliders say", () => {
  const { move, said, inputs, standing, kept } = live();
  for (const [[i, k], text] of readouts) {
    move(TURN, i);
    move(LEVEL, k);
    assert.equal(said().split("\n")[0], text);
    assert.deepEqual([standing(), kept()], [[i, k], [i, k]]);
    assert.equal(inputs[LEVEL].getAttribute("aria-valuetext"), spec.sliders[LEVEL].names[k]);
  }
});

test("what is to be remarked is said once, a line each, while it holds", () => {
  const { move, said } = live();
  move(LEVEL, 2);
  assert.deepEqual(said().split("\n").slice(1), ["The level has left the picture."]);
  move(LEVEL, 0);
  assert.equal(said().includes("picture"), false);
});

test("a mark that is switched off is not remarked on, and Reset shows it again", () => {
  const { el, move, said, inputs } = live();
  move(LEVEL, 2);
  const boxes = el.querySelectorAll("input").filter((input) => !inputs.includes(input));
  assert.deepEqual(boxes.map((box) => [box.name, box.checked]), [["level", true]]);
  boxes[0].checked = false;
  boxes[0].dispatch("change");
  assert.equal(said().includes("picture"), false);
  const shown = () => el.querySelectorAll(".stage-mark").filter((mark) => mark.style.display !== "none").length;
  assert.equal(shown(), spec.marks.length - 2);
  el.querySelector(".stage-reset").dispatch("click");
  assert.deepEqual([shown(), boxes[0].checked], [spec.marks.length, true]);
});

test("dragging chooses the position nearest to the pointer, across and up", () => {
  const { el, standing, kept, move } = live();
  const [x0, y0, width, height] = spec.marks[0].box, grips = el.querySelectorAll("circle");
  assert.equal(grips.length, 2, "a point's and an arrow's");
  for (const [grip, radius] of [[grips[0], 0.4], [grips[1], 0.2]]) {
    const at = (k) => {  // the hand of a clock: most of its positions have the same x as another
      const angle = 2 * Math.PI * k / (LAST + 1);
      return [(0.5 + radius * Math.cos(angle)) * width, (0.5 - radius * Math.sin(angle)) * height];
    };
    const drag = (k) => grip.dispatch("pointermove", { clientX: x0 + at(k)[0], clientY: y0 + at(k)[1] });
    move(TURN, 0);
    drag(3);
    assert.equal(standing()[TURN], 0, "a pointer that only passes does not drag");
    grip.dispatch("pointerdown");
    for (let k = 0; k <= LAST; k++) {
      drag(k);
      assert.deepEqual([standing()[TURN], kept()[TURN]], [k, k]);
      ["cx", "cy"].forEach((key, i) => assert.ok(Math.abs(grip.getAttribute(key) - at(k)[i]) < 0.5, "the grip follows"));
    }
  }
});

test("play goes on step by step, and from the end begins anew", () => {
  const { move, button, standing, playing } = live();
  button.dispatch("click");
  pass(STEP - 1);
  assert.deepEqual([standing()[TURN], playing()], [0, true]);
  pass(1);
  assert.equal(standing()[TURN], 1);
  pass(1.5 * STEP);
  pass(0.5 * STEP);
  assert.equal(standing()[TURN], 3, "frames that come late do not slow it down");
  move(TURN, LAST);
  assert.deepEqual([standing()[TURN], playing()], [LAST, false], "a key moves the slider and stops it");
  button.dispatch("click");
  assert.deepEqual([standing()[TURN], playing()], [0, true]);
  for (let i = 0; i < LAST; i++) pass(STEP);
  assert.deepEqual([standing()[TURN], playing(), clock.frame], [LAST, false, null]);
});

test("a page that slept goes on from where it was, and does not catch up", () => {
  const { button, standing } = live();
  button.dispatch("click");
  pass(8.5 * STEP);
  assert.equal(standing()[TURN], 3);
  pass(STEP - 1);
  assert.equal(standing()[TURN], 3, "nor in the frames that follow");
  pass(1);
  assert.equal(standing()[TURN], 4);
});

test("who takes hold of the played slider or of its mark, stops it; another slider does not", () => {
  const corner = { clientX: 0, clientY: 0 };
  for (const [stops, take] of [
    [true, ({ move }) => move(TURN, 5)], [true, ({ inputs }) => inputs[TURN].dispatch("pointerdown")],
    [true, ({ el }) => ["pointerdown", "pointermove"].forEach((type) => el.querySelector("circle").dispatch(type, corner))],
    [true, ({ el }) => el.querySelector(".stage-reset").dispatch("click")], [true, ({ button }) => button.dispatch("click")],
    [false, ({ move }) => move(LEVEL, 1)], [false, ({ inputs }) => inputs[LEVEL].dispatch("pointerdown")],
  ]) {
    const figure = live();
    figure.button.dispatch("click");
    assert.equal(figure.playing(), true);
    take(figure);
    assert.deepEqual([figure.playing(), clock.frame !== null], [!stops, !stops], String(take));
  }
});

test("the readout is read out, but not at every step that it plays", () => {
  const { button, readout } = live(), spoken = () => readout.getAttribute("aria-live");
  assert.equal(spoken(), "polite");
  button.dispatch("click");
  pass(STEP);
  assert.equal(spoken(), "off");
  button.dispatch("click");
  assert.equal(spoken(), "polite");
});

test("the kernel learns where the reader moves a slider, and the view where the kernel does", () => {
  const { model, move, standing, drawn, said } = live();
  move(TURN, 4);
  assert.deepEqual([model.get("turn"), model.saved], [spec.sliders[TURN].values[4], 1]);
  const before = drawn();
  model.arrive("turn", spec.sliders[TURN].values[7] + 1e-12);
  assert.deepEqual([standing()[TURN], model.saved], [7, 1]);
  assert.notEqual(drawn(), before);
  const text = readouts.find(([[i, k]]) => i === 7 && k === 0)[1];
  assert.equal(said(), text);
});

test("a view that is taken away leaves nothing behind", () => {
  const { model, button, end, standing } = live();
  button.dispatch("click");
  assert.equal(model.listeners.length, spec.sliders.length);
  end();
  assert.deepEqual([model.listeners, clock.frame], [[], null]);
  model.arrive("turn", spec.sliders[TURN].values[7]);
  assert.equal(standing()[TURN], 0);
});
