// Brings the stages of a built page to life with no kernel: for each one a model that holds its state, given to the
// same module that JupyterLab runs (STAGE_MODULE, its source, stands above).

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

async function mountStages() {
  const address = URL.createObjectURL(new Blob([STAGE_MODULE], { type: "text/javascript" }));
  const { default: stage } = await import(address);
  URL.revokeObjectURL(address);
  for (const script of document.querySelectorAll("script.stage-data")) {
    const el = script.previousElementSibling;
    try {  // a figure that fails stays the static picture, and leaves the others alone
      const state = JSON.parse(script.textContent);
      state.table = new DataView(Uint8Array.from(atob(state.table), (c) => c.charCodeAt(0)).buffer);
      state.pictures = [...el.querySelectorAll("svg")].map((svg) => svg.outerHTML);
      stage.render({ model: new Model(state), el });
      el.dataset.live = "true";
    } catch (error) {
      console.error(error);
    }
    await new Promise((resolve) => setTimeout(resolve));  // the first figure does not wait for the others
  }
}

mountStages();
