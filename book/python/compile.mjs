// Compiles Python files with the page's own Python, under Node: node compile.mjs FOLDER. Each .py below FOLDER gets its
// .pyc beside it; the worker then spends no time on compiling.
import { loadPyodide } from "./pyodide.mjs";

const python = await loadPyodide();
python.FS.mkdir("/work");
python.FS.mount(python.FS.filesystems.NODEFS, { root: process.argv[2] }, "/work");
python.runPython(`
import pathlib, py_compile
for file in pathlib.Path("/work").rglob("*.py"):
    name = str(file.relative_to("/work"))  # what a traceback says
    py_compile.compile(str(file), str(file) + "c", name, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
`);
