"""The chapter in a real JupyterLab: run all its cells, move a slider, see the marks move."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from conftest import ROOT, missing


@pytest.fixture
def lab(tmp_path):
    """Address of a JupyterLab on a copy of the chapters."""
    if shutil.which("jupyter-lab", path=os.path.dirname(sys.executable)) is None:
        missing("JupyterLab is not installed")
    shutil.copytree(ROOT / "chapters", tmp_path / "chapters")
    settings = tmp_path / "settings/@jupyterlab/notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
         "--IdentityProvider.token=course",
         f"--notebook-dir={tmp_path / 'chapters'}", f"--LabApp.user_settings_dir={tmp_path / 'settings'}",
         f"--LabApp.workspaces_dir={tmp_path / 'workspaces'}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"JUPYTER_PREFER_ENV_PATH": "1"})
    address = f"http://127.0.0.1:{port}/lab"
    for _ in range(120):
        try:
            with urllib.request.urlopen(f"{address}?token=course", timeout=1):
                break
        except OSError:
            time.sleep(0.5)
    yield address
    process.terminate()
    process.wait(20)


def test_a_slider_moves_the_marks_in_jupyterlab(browser, lab):
    page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    page.goto(f"{lab}/tree/03_gradient_descent.ipynb?token=course")
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=240_000)
    # JupyterLab forgets what it is asked to run before its kernel answers.
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=240_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    stage = page.locator(".stage").nth(1)
    stage.locator("input").first.wait_for(timeout=240_000)
    stage.scroll_into_view_if_needed()
    draw = "paths => paths.map(p => p.getAttribute('d')).join('|')"
    seen = [stage.locator(".stage-mark path").evaluate_all(draw)]
    sliders = stage.locator("input[type=range]").all()
    for slider in sliders:
        slider.focus()
        slider.press("ArrowRight")  # JupyterLab must not take the key for itself
        seen.append(stage.locator(".stage-mark path").evaluate_all(draw))
    assert len(set(seen)) == 1 + len(sliders)
    eta = sliders[2].get_attribute("aria-valuetext")
    assert f"η = {eta}" in stage.locator(".stage-readout").inner_text()
    page.get_by_text("theta after 30 iterations").wait_for(state="attached", timeout=240_000)  # the last cell's
    assert page.get_by_text("Solution to").count() > 0
    assert ":::" not in page.locator(".jp-Notebook").inner_text(), "MyST is shown raw"
    for kind in ("stderr", "error"):
        assert page.locator(f'[data-mime-type="application/vnd.jupyter.{kind}"]').count() == 0
