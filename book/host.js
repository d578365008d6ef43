// Brings the stages of a built page to life with no kernel: for each one a model that holds its state, given to the
// same module that JupyterLab runs (STAGE_MODULE, its source, stands above). `metacalcStage.mount` does it for other scripts.

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

let stage;  // the module, once it has been asked for
const ends = new WeakMap();  // element → what ends the figure in it

/**
 * Bring an element to life with the state of a stage: "spec", "pictures", "table" as bytes or in base64, and the position of
 * each slider under its name. Whatever lived in the element before ends. Returns the model, which has the positions.
 */
async function mount(el, state) {
  stage ??= (async () => {
    const address = URL.createObjectURL(new Blob([STAGE_MODULE], { type: "text/javascript" }));
    const module = await import(address);
    URL.revokeObjectURL(address);
    return module.default;
  })();
  const { render } = await stage;
  ends.get(el)?.();
  const bytes = typeof state.table === "string" ? Uint8Array.from(atob(state.table), (c) => c.charCodeAt(0)) : state.table;
  const model = new Model({ ...state, table: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) });
  ends.set(el, render({ model, el }));
  el.dataset.live = "true";
  return model;
}

async function mountStages() {
  for (const script of document.querySelectorAll("script.stage-data")) {
    const el = script.previousElementSibling;
    try {  // a figure that fails stays the static picture, and leaves the others alone
      const pictures = [...el.querySelectorAll(".stage-panel > svg")].map((svg) => svg.outerHTML);
      await mount(el, { ...JSON.parse(script.textContent), pictures });
    } catch (error) {
      console.error(error);
    }
    await new Promise((resolve) => setTimeout(resolve));  // the first figure does not wait for the others
  }
}

window.metacalcStage = { mount };
mountStages();
