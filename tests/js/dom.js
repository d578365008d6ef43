// As much of a browser as the view needs: elements that remember what was done to them, and a clock that a test turns.

const datasetName = (attribute) => attribute.slice(5).replace(/-(\w)/g, (_, letter) => letter.toUpperCase());

export class Element {
  constructor(tag) {
    Object.assign(this, { tag, children: [], attributes: {}, dataset: {}, style: {}, listeners: {}, pointers: new Set() });
    const words = () => (this.className ?? "").split(" ").filter(Boolean);
    this.classList = {
      add: (word) => { this.className = [...words(), word].join(" "); },
      toggle: (word, on) => { this.className = [...words().filter((w) => w !== word), ...(on ? [word] : [])].join(" "); },
    };
  }
  setAttribute(key, value) {
    this.attributes[key] = String(value);
    if (key === "class") this.className = String(value);
    if (key.startsWith("data-")) this.dataset[datasetName(key)] = String(value);
  }
  getAttribute(key) { return this.attributes[key]; }
  append(...children) { this.children.push(...this.adopt(children)); }
  prepend(...children) { this.children.unshift(...this.adopt(children)); }
  replaceChildren(...children) { this.children = this.adopt(children); }
  after(other) {
    other.remove();
    this.parent.adopt([other]);
    this.parent.children.splice(this.parent.children.indexOf(this) + 1, 0, other);
  }
  remove() { if (this.parent) this.parent.children = this.parent.children.filter((child) => child !== this); }
  adopt(children) {
    for (const child of children) if (child instanceof Element) child.parent = this;
    return children;
  }
  focus() { Element.focused = this; }
  get value() { return this.own ?? this.children.find((option) => option.selected)?.value; }  // of a <select>
  set value(value) { this.own = String(value); }
  set innerHTML(text) { if (text.includes("<svg")) this.append(new Element("svg")); }
  matches(selector) {
    return selector.startsWith(".") ? (this.className ?? "").split(" ").includes(selector.slice(1)) : this.tag === selector;
  }
  querySelectorAll(selector) {
    return this.children.flatMap((child) => (child instanceof Element
      ? [...(child.matches(selector) ? [child] : []), ...child.querySelectorAll(selector)] : []));
  }
  querySelector(selector) { return this.querySelectorAll(selector)[0] ?? null; }
  addEventListener(type, listener) { (this.listeners[type] ??= []).push(listener); }
  dispatch(type, event = {}) {
    for (const listener of this.listeners[type] ?? []) listener({ preventDefault() {}, pointerId: 1, ...event });
  }
  setPointerCapture(id) { this.pointers.add(id); }
  hasPointerCapture(id) { return this.pointers.has(id); }
  getScreenCTM() { return { inverse: () => null }; }  // a unit of the picture is a pixel of the screen
}

export const clock = { now: 0, frame: null };

/** Lets so many milliseconds pass and draws one frame, if one was asked for. */
export function pass(milliseconds) {
  clock.now += milliseconds;
  const frame = clock.frame;
  clock.frame = null;
  frame?.(clock.now);
}

globalThis.document = { createElement: (name) => new Element(name), createElementNS: (_, name) => new Element(name) };
globalThis.DOMPoint = class {
  constructor(x, y) { Object.assign(this, { x, y }); }
  matrixTransform() { return this; }
};
globalThis.matchMedia = () => ({ matches: false });
globalThis.performance = { now: () => clock.now };
globalThis.requestAnimationFrame = (frame) => { clock.frame = frame; return 1; };
globalThis.cancelAnimationFrame = () => { clock.frame = null; };
