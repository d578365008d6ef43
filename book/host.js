// Brings the stages of a built page to life with no kernel: for each one a model that holds its state, given to the
// same module that JupyterLab runs (`stageModule`, which gives it, stands above). `metacalcStage.mount` does it for other scripts.

class Model {
  constructor(state) {
    this.state = state;
    this.listeners = {};
  }
  get(name) { return this.state[name]; }
  set(name, value) {
    if (this.state[name] === value) return;
    this.state[name] = value;
    (this.listeners[`change:${name}`] ?? []).forEach((listener) => listener());
  }
  on(event, listener) { (this.listeners[event] ??= []).push(listener); }
  off(event, listener) { this.listeners[event] = (this.listeners[event] ?? []).filter((l) => l !== listener); }
  save_changes() {}
}

const { render } = stageModule();
const ends = new WeakMap();  // element → what ends the figure in it

/**
 * Bring an element to life with the state of a stage: "spec", "pictures", "table" as bytes or in base64, and the position of
 * each slider under its name. Whatever lived in the element before ends. Returns the model, which has the positions.
 */
function mount(el, state) {
  ends.get(el)?.();
  const bytes = typeof state.table === "string" ? bytesOf(atob(state.table)) : state.table;
  const model = new Model({ ...state, table: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) });
  ends.set(el, render({ model, el }));
  el.dataset.live = "true";
  return model;
}

function bytesOf(text) {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

for (const script of document.querySelectorAll("script.stage-data")) {
  const el = script.previousElementSibling;
  try {  // a figure that fails stays the static picture, and leaves the others alone
    const pictures = [...el.querySelectorAll(".stage-panel > svg")].map((svg) => svg.outerHTML);
    mount(el, { ...JSON.parse(script.textContent), pictures });
  } catch (error) {
    console.error(error);
  }
}

window.metacalcStage = { mount };
