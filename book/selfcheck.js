// "Check yourself" asks for a choice before it explains. The build marks the questions and the right choice (selfcheck.py);
// without this script the choices are dropdowns.

(() => {
"use strict";
const t = window.metacalcT;
const WORDS = { true: `✓ ${t("Right.")}`, false: `✗ ${t("Wrong.")}` };
const VERDICT = new RegExp(`^(${t("Yes|No")})[.:,。：，]?\\s*`);

/** What was answered right, in this browser alone; where it keeps nothing, the page works without. */
const memory = {
  key: (name) => `metacalc:choice:${name}`,
  has(name) { try { return localStorage.getItem(this.key(name)) !== null; } catch { return false; } },
  set(name, right) {
    try {
      if (right) localStorage.setItem(this.key(name), "right");
      else localStorage.removeItem(this.key(name));
    } catch { /* full, or switched off */ }
  },
};

function make(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Leave out the "Yes" or "No" that a dropdown's text begins with: a word of ours, or "Why not?", stands before it. */
function withoutVerdict(explanation) {
  const first = document.createTreeWalker(explanation, NodeFilter.SHOW_TEXT, (text) => (
    text.data.trim() ? NodeFilter.FILTER_ACCEPT : NodeFilter.FILTER_SKIP)).nextNode();
  if (first) first.data = first.data.trimStart().replace(VERDICT, "").replace(/^\p{Ll}/u, (letter) => letter.toUpperCase());
}

/** A choice: a radio button with the dropdown's title, a place for the explanation, and the dropdown for "Why not?". */
class Choice {
  constructor(details, group, letter) {
    const summary = details.querySelector("summary");
    Object.assign(this, { details, right: details.classList.contains("choice-right") });
    this.radio = make("input", { type: "radio", name: group, value: letter });
    const text = make("span", {}, ...summary.querySelector(".sd-summary-text").childNodes);
    summary.replaceChildren(t("Why not ({letter})?", { letter }));
    this.said = make("div", { className: "choice-said" });
    this.said.setAttribute("role", "status");
    this.explanation = details.querySelector(".sd-summary-content");
    this.word = make("strong", { className: "choice-verdict" }, `${WORDS[this.right]} `);
    withoutVerdict(this.explanation);
    details.className = summary.className = "";  // it no longer looks like the dropdown that it was
    this.explanation.className = "choice-why";
    this.node = make("div", { className: "choice-option" });
    details.before(this.node);
    this.node.append(make("label", {}, this.radio, text), this.said, details);
    this.forget();
  }

  /** Say whether it is right, and why. */
  answer() {
    this.node.dataset.right = this.right;
    this.details.hidden = true;
    (this.explanation.querySelector("p") ?? this.explanation).prepend(this.word);
    this.said.replaceChildren(this.explanation);
  }

  /** The explanation can be opened, if it is not there already. */
  offer() { this.details.hidden = this.said.hasChildNodes(); }

  forget() {
    delete this.node.dataset.right;
    this.word.remove();
    this.details.append(this.explanation);
    this.said.replaceChildren();
    Object.assign(this.details, { hidden: true, open: false });
    this.radio.checked = false;
  }
}

class Question {
  constructor(node) {
    this.name = node.id;
    const asked = [...node.querySelectorAll(":scope > :not(.admonition-title, details)")];
    const all = [...node.querySelectorAll(":scope > details.choice")];
    this.form = make("form", { className: "choices", autocomplete: "off", onsubmit: (event) => this.answer(event), onchange: () => this.label() });
    this.group = make("fieldset");
    asked.forEach((part, i) => { part.id ||= `${this.name}-asked-${i + 1}`; });
    this.group.setAttribute("aria-labelledby", asked.map((part) => part.id).join(" "));
    all[0].before(this.form);
    this.form.append(this.group);
    this.group.append(...all);
    this.choices = all.map((details, i) => new Choice(details, this.name, String.fromCharCode(97 + i)));
    this.button = make("button", { type: "submit" }, t("Answer"));
    this.again = make("button", { type: "button", className: "choice-again", onclick: () => this.forget() }, t("Answer again"));
    this.form.append(make("div", { className: "choice-buttons" }, this.button, this.again));
    if (memory.has(this.name)) this.solve(this.choices.find((choice) => choice.right));
    this.label();
  }

  get chosen() { return this.choices.find((choice) => choice.radio.checked); }

  answer(event) {
    event.preventDefault();
    if (!this.chosen) return;
    if (this.chosen.right) this.solve(this.chosen);
    else this.chosen.answer();
    if (this.solved) this.choices.forEach((choice) => choice.offer());
    this.label();
  }

  solve(choice) {
    this.solved = choice.radio.checked = true;
    choice.answer();
    this.choices.forEach((other) => other.offer());
    memory.set(this.name, true);
  }

  forget() {
    this.solved = false;
    this.choices.forEach((choice) => choice.forget());
    memory.set(this.name, false);
    this.label();
    this.choices[0].radio.focus();
  }

  label() {
    this.button.disabled = !this.chosen;
    this.again.hidden = !this.solved;
  }
}

document.querySelectorAll(".self-check").forEach((node) => new Question(node));
})();
