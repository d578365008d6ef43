// Who changed cells takes them along: the notebook that the page offers is downloaded with the reader's cells in it.

const NOTEBOOK_LINK = ".article-header-buttons a[href$='.ipynb']";

/** A notebook in which the cells that read as printed read as changed; their stored outputs are those of other code, and go. */
function withChanges(notebook, changed) {
  const bare = (source) => source.replace(/[ \t]+$/gm, "").trimEnd();
  const known = new Map([...changed].map(([printed, source]) => [bare(printed), source]));
  return { ...notebook, cells: notebook.cells.map((cell) => {
    const source = cell.cell_type === "code" ? known.get(bare([cell.source].flat().join(""))) : undefined;
    return source === undefined ? cell : { ...cell, source: source.match(/[^\n]*\n|[^\n]+$/g) ?? [], outputs: [], execution_count: null };
  }) };
}

const changesToTake = () => (typeof changedCells === "undefined" ? new Map() : changedCells());

/** A text becomes a file of the reader's own. */
function keepFile(name, text, type) {
  const address = URL.createObjectURL(new Blob([`${text}\n`], { type }));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);  // a browser may still ask where to keep it
}

/** The notebook as a file of the reader's own; where it cannot be read, the link does what it would have done. */
async function downloadChanged(link, changed) {
  try {
    const response = await fetch(link.href);
    if (!response.ok) throw new Error(`${link.href}: ${response.status}`);
    const text = JSON.stringify(withChanges(await response.json(), changed), null, 1);
    keepFile(new URL(link.href).pathname.split("/").at(-1), text, "application/x-ipynb+json");
  } catch {
    window.open(link.href, "_blank");
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.(NOTEBOOK_LINK), changed = link && changesToTake();
  if (!changed?.size || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  downloadChanged(link, changed);
});

// The menu says so before it is used.
document.addEventListener("show.bs.dropdown", () => {
  const words = document.querySelector(`${NOTEBOOK_LINK} .btn__text-container`), { size } = changesToTake();
  if (words) words.textContent = `.ipynb${size === 1 ? t(" with the cell you changed") : size ? t(" with the {size} cells you changed", { size }) : ""}`;
});
