// What is wider than its column scrolls: it gets the class that shows so (book.css), and is a stop of the Tab key, so that keys can
// scroll it. What fits is neither. (The theme sets such stops once, when what is folded away has no width yet.)

const WIDE = "pre, .output, .pst-scrollable-table-container, .stage-panels, span.math, div.math mjx-container";
const seen = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    // An inline formula's hidden words for screen readers may be wider than what is to be seen.
    const inside = target.matches("span.math") ? target.querySelector("mjx-math")?.offsetWidth ?? 0 : target.scrollWidth;
    const scrolls = inside > target.clientWidth + 1;
    target.classList.toggle("scrolls", scrolls);
    if (scrolls) target.tabIndex = 0;
    else if (!target.matches("mjx-container")) target.removeAttribute("tabindex");  // MathJax has its menu there
  }
});

function watch() {
  for (const node of document.querySelectorAll(WIDE)) if (node.closest(".bd-article")) seen.observe(node);
}

watch();
new MutationObserver((changes) => {  // figures that come to life, formulas, cells that ran; not the words of a readout
  if (changes.some(({ addedNodes }) => [...addedNodes].some((node) => node.firstElementChild || node.matches?.(WIDE)))) watch();
}).observe(document.body, { childList: true, subtree: true });
