// What each kind of mark draws, from tables made by hand, on axes of 200 × 100 at (10, 20) and with two sliders.

import assert from "node:assert/strict";
import test from "node:test";
import { Element } from "./dom.js";
import { stage } from "./stage.js";

const ARROWHEAD = 5.5, RADIUS = 5;
const LOOKS = {
  point: { shape: "s", size: 2 * RADIUS, name: "θ" }, arrow: { width: 2, dash: "", name: "An arrow" },
  path: { width: 1, dash: "", dot: 4, along: 0 }, curve: { width: 1, dash: "6 3", dot: 0 },
};

/** A mark over arrays of [shape, numbers]: `at(index)` is what it says, and `outlines` what it has drawn. */
function mark(kind, arrays, look = {}) {
  let offset = 0;
  const coordinates = arrays.map(([shape, numbers]) => {
    offset += 8 * numbers.length;
    return [offset - 8 * numbers.length, "float64", shape];
  });
  const view = new DataView(Float64Array.from(arrays.flatMap(([, numbers]) => numbers)).buffer);
  const spec = { kind, panel: 0, box: [10, 20, 200, 100], color: "blue", coordinates, ...LOOKS[kind], ...look };
  const canvas = stage.makeCanvas(spec, new Element("svg"), stage.makeSources({ sliders: [{}, {}], runs: [] }, view)), held = [];
  canvas.hold = (x, y) => held.push([x, y]);
  const at = stage.MARKS[kind](spec, canvas);
  return { at, canvas, held, outlines: () => canvas.group.querySelectorAll("path").map((path) => path.getAttribute("d")) };
}

const single = (...fractions) => fractions.map((fraction) => [[1, 1], [fraction]]);
/** The corners of an outline. */
const corners = (outline) => outline.split(/[MLz]/).filter(Boolean).map((pair) => pair.split(",").map(Number));
const middle = (points) => [0, 1].map((i) => points.reduce((sum, point) => sum + point[i], 0) / points.length);
function near(actual, wanted) {
  actual.forEach((number, i) => assert.ok(Math.abs(number - wanted[i]) < 1e-9, `${actual}, not ${wanted}`));
}

test("a mark stands in its axes' box, which clips it", () => {
  const { group } = mark("point", single(0, 0), { toggle: "ours" }).canvas;
  assert.deepEqual(["x", "y", "width", "height"].map((key) => group.getAttribute(key)), ["10", "20", "200", "100"]);
  assert.deepEqual([group.dataset.mark, group.dataset.toggle], ["point", "ours"]);
});

test("a point is where its fractions are, from the centre, upwards", () => {
  const { at, outlines, held } = mark("point", [[[3, 1], [0, 0.25, -0.5]], [[1, 2], [0, 0.25]]]);
  for (const [index, place] of [[[0, 0], [100, 50]], [[1, 0], [150, 50]], [[2, 0], [0, 50]], [[1, 1], [150, 25]]]) {
    assert.equal(at(index), "");
    near(middle(corners(outlines()[0])), place);
    near(held.at(-1), place);
  }
});

test("a hollow point is a ring of its colour, filled with paper", () => {
  const ends = (look) => { const [path] = mark("point", single(0, 0), look).canvas.group.querySelectorAll("path");
    return ["fill", "stroke"].map((key) => path.getAttribute(key)); };
  assert.deepEqual(ends({ hollow: true }), ["var(--stage-paper)", "var(--stage-blue)"]);
  assert.deepEqual(ends({}), ["var(--stage-blue)", "var(--stage-paper)"]);
});

test("a point that has left the picture is an arrow at the edge, which points to it", () => {
  const sides = [[3, 0, [1, 0]], [-3, 0, [-1, 0]], [0, 3, [0, -1]], [0, -3, [0, 1]], [3, 5, [1, -1]], [-3, -5, [-1, 1]]];
  for (const [u, v, way] of sides) {
    const { at, outlines, held } = mark("point", single(u, v));
    assert.equal(at([0, 0]), "θ has left the picture");
    const [tip, ...back] = corners(outlines()[0]), tail = middle(back);
    assert.deepEqual([0, 1].map((i) => Math.sign(Math.round(tip[i] - tail[i]))), way);
    for (const [i, size] of [[0, 200], [1, 100]]) {
      near([held[0][i]], [size / 2 * (1 + way[i])]);
      const edge = (way[i] ? (1 + way[i]) * size / 2 : size / 2) - way[i] * RADIUS;
      assert.ok(Math.abs(middle([tip, ...back])[i] - edge) < RADIUS / 2, `${u}, ${v}: ${tip} at ${edge}`);
    }
  }
});

test("a point that is no number is not drawn, and that is said", () => {
  for (const place of [single(NaN, 0), single(0, NaN)]) {
    const { at, outlines } = mark("point", place);
    assert.equal(at([0, 0]), "θ is no longer a number");
    assert.deepEqual(outlines(), [""]);
  }
});

test("an arrow goes from its foot to its head", () => {
  const { at, outlines, held } = mark("arrow", [...single(0, 0), [[2, 1], [0.25, 0]], [[2, 1], [0.25, -0.25]]]);
  for (const [k, to] of [[0, [150, 25]], [1, [100, 75]]]) {
    assert.equal(at([k, 0]), "");
    const [shaft, head] = outlines().map(corners);
    near(shaft[0], [100, 50]);
    near(head[0], to);
    near(held.at(-1), to);
    near([Math.hypot(head[0][0] - shaft[1][0], head[0][1] - shaft[1][1])], [1.2 * ARROWHEAD]);
  }
});

test("an arrow that leaves the picture ends at the edge that it leaves by", () => {
  for (const [p, q, to] of [
    [1, 0, [200, 50]], [-1, 0, [0, 50]], [0, 1, [100, 0]], [0, -1, [100, 100]], [1, 0.5, [200, 25]], [0.25, -1, [125, 100]],
  ]) {
    const { at, outlines, held } = mark("arrow", single(0, 0, p, q));
    assert.equal(at([0, 0]), "An arrow points out of the picture");
    near(corners(outlines()[1])[0], to);
    near(held[0], to);
  }
});

test("an arrow of no length is not drawn", () => {
  const { at, outlines } = mark("arrow", single(0.1, 0.1, 0.1, 0.1));
  assert.equal(at([0, 0]), "");
  assert.deepEqual(outlines(), ["", ""]);
});

test("a path has grown to the slider's position, with a dot at every point", () => {
  const { at, outlines } = mark("path", [[[4, 1], [-0.5, -0.25, 0, 0.25]], [[1, 2], [0, 0.25]]]);
  const xs = [0, 50, 100, 150];
  for (const [k, y] of [[0, 50], [1, 25]])
    for (const n of [0, 3, 1]) {
      assert.equal(at([n, k]), "");
      const [line, dots] = outlines(), points = xs.slice(0, n + 1).map((x) => [x, y]);
      assert.deepEqual(corners(line), points);
      const lefts = dots.split("M").filter(Boolean).map((dot) => dot.split("a")[0]);
      assert.deepEqual(lefts, points.map(([x]) => `${x - 2},${y}`));
    }
});

test("a path grows along the axis of its slider only, where its arrays have both", () => {
  const { at, outlines } = mark("path", [[[2, 3], [-0.5, -0.4, -0.3, 0.1, 0.2, 0.3]], [[1, 3], [0, 0.1, 0.2]]], { along: 1 });
  at([1, 2]);
  assert.deepEqual(corners(outlines()[0]), [[120, 50], [140, 40], [160, 30]]);
});

test("a curve is whole at every position, its shorter arrays stretched", () => {
  const { at, outlines } = mark("curve", [[[1, 1, 3], [-0.5, 0, 0.5]], [[2, 1, 3], [0, 0.1, 0.2, 0.3, 0.4, 0.5]]]);
  assert.equal(at([1, 0]), "");
  assert.deepEqual(outlines().map(corners), [[[0, 20], [100, 10], [200, 0]]], "and has no dots unless asked for");
  const level = mark("curve", [[[1, 1, 2], [-0.5, 0.5]], [[2, 1, 1], [0, 0.25]]], { dot: 4 });
  level.at([1, 0]);
  assert.deepEqual(corners(level.outlines()[0]), [[0, 25], [200, 25]]);
  assert.equal(level.outlines()[1].split("M").length, 3);
});

test("a line is not joined over what is no number", () => {
  const across = [-0.5, -0.25, 0, 0.25, 0.5], level = [0, 0, 0, 0, 0], gap = (numbers) => numbers.with(2, NaN);
  for (const [xs, ys] of [[across, gap(level)], [gap(across), level]])
    for (const [kind, shape, index] of [["curve", [1, 1, 5], [0, 0]], ["path", [5, 1], [4, 0]]]) {
      const { at, outlines } = mark(kind, [[shape, xs], [shape, ys]], { dot: 4 });
      at(index);
      assert.equal(outlines()[0], "M0,50L50,50M150,50L200,50");
      assert.equal(outlines()[1].split("M").length, 5);
    }
});

test("lines have the looks that Python gave them", () => {
  const [line] = mark("curve", [[[1, 1, 2], [0, 0]], [[1, 1, 2], [0, 0]]]).canvas.group.querySelectorAll("path");
  assert.deepEqual(["stroke", "stroke-width", "stroke-dasharray", "fill"].map((key) => line.getAttribute(key)),
    ["var(--stage-blue)", "1", "6 3", "none"]);
});
