// The link to the page in the other language leads to the section that is being read: sections have the same ids in both.

/** The id of the last section that begins above the middle of the window, or nothing before the first one. */
function sectionRead() {
  const begun = [...document.querySelectorAll(".bd-article section[id]:has(> :is(h2, h3, h4))")].filter(
    (section) => section.getBoundingClientRect().top < innerHeight / 2);
  return begun.at(-1)?.id ?? "";
}

function followSection(event) {
  const link = event.target.closest?.("a.edition");
  if (!link) return;
  link.search = location.search;  // what is searched for
  link.hash = sectionRead() || location.hash;
}

for (const kind of ["pointerdown", "focusin", "click"]) document.addEventListener(kind, followSection);

// What scripts of Sphinx and of the theme say.
document.addEventListener("DOMContentLoaded", () => {
  const t = globalThis.metacalcT, label = t("Toggle hidden content"), said = Documentation.TRANSLATIONS;
  for (const button of document.querySelectorAll(".toggle-button")) button.setAttribute("aria-label", label);
  for (const text of Object.keys(said)) said[text] = globalThis.metacalcWords[text] ?? said[text];
});
