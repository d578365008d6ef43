// What the view computes without a page: halves, tables and the writing of numbers, against NumPy and Python.

import assert from "node:assert/strict";
import test from "node:test";
import { expected, stage } from "./stage.js";

const { format, fromHalf, readTable } = stage;
const doubles = (text) => new Float64Array(new Uint8Array(Buffer.from(text, "base64")).buffer);

test("every half is NumPy's", () => {
  const halves = doubles(expected.halves);
  assert.equal(halves.length, 65536);
  halves.forEach((half, bits) => assert.ok(Object.is(fromHalf(bits), half), `${bits}: ${fromHalf(bits)} is not ${half}`));
});

test("numbers are written as Python writes them", () => {
  const values = doubles(expected.values);
  for (const [spec, texts] of Object.entries(expected.texts))
    texts.forEach((text, i) => assert.equal(format(values[i], spec), text, `${values[i]} as ${spec}`));
});

test("a table is found at every position, whatever its offset, type and collapsed axes", () => {
  const bytes = new Uint8Array(Buffer.from(expected.table, "base64"));
  const shifted = new Uint8Array(bytes.length + 3);
  shifted.set(bytes, 3);
  for (const view of [new DataView(bytes.buffer), new DataView(shifted.buffer, 3)])
    for (const { place, rank, length, entries } of expected.arrays) {
      const table = readTable(view, place, rank);
      assert.equal(table.length, length);
      for (const [index, values] of entries) {
        const start = table.at(index);
        assert.deepEqual([...table.values.slice(start, start + length)], values, `${place} at ${index}`);
      }
    }
});

test("an axis that nothing changes along has no stride", () => {
  const { strides } = readTable(new DataView(new ArrayBuffer(96)), [0, "float64", [3, 1, 4]], 3);
  assert.deepEqual(strides, [4, 0, 1]);
});
