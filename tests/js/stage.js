// The view's module, imported from its text as the book and JupyterLab import it, and what Python computed for the tests.

import { readFileSync } from "node:fs";

const source = readFileSync(process.env.STAGE_SOURCE, "utf8");

export const stage = await import(`data:text/javascript,${encodeURIComponent(source)}`);
export const expected = JSON.parse(readFileSync(process.env.STAGE_EXPECTED, "utf8"));
