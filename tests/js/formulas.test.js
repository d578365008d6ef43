// What the view makes of every figure's formulas, at positions and along lines that Python has computed too.

import assert from "node:assert/strict";
import test from "node:test";
import { expected, stage } from "./stage.js";

const number = (value) => (typeof value === "string" ? Number(value) : value);
function near(actual, wanted, where) {
  const same = Object.is(actual, wanted) || Math.abs(actual - wanted) <= 1e-9 * Math.max(1, Math.abs(wanted));
  assert.ok(same || (Number.isNaN(actual) && Number.isNaN(wanted)), `${where}: ${actual}, not ${wanted}`);
}

for (const { name, spec, table, formulas } of expected.formulas)
  test(`the formulas of ${name} are Python's`, () => {
    const bytes = Buffer.from(table, "base64"), sourceOf = stage.makeSources(spec, new DataView(Uint8Array.from(bytes).buffer));
    formulas.forEach(({ place, isLine, entries }, i) => {
      const source = sourceOf({ ...place, scale: undefined });
      for (const [index, numbers] of entries) {
        const where = `formula ${i} at ${index}`;
        if (!isLine) { near(source.at(index), number(numbers[0]), where); continue; }
        const line = source.line(index);
        assert.equal(line.count, numbers.length, where);
        numbers.forEach((wanted, k) => near(line.at(k), number(wanted), `${where}, point ${k}`));
      }
    });
  });
