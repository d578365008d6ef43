"""The JupyterHub of `hub/`: it starts, lets a student in and nobody else, and the student runs a chapter."""

import io
import json
import os
import re
import socket
import subprocess
import sys
import time
import tomllib
import uuid
from pathlib import Path

import nbformat
import pytest
import yaml

import metacalc
from conftest import ROOT, optional

CONFIG = ROOT / "hub/jupyterhub_config.py"
PASSWORD = "gradient-descent"
sys.path.insert(0, str(CONFIG.parent))
from student import hand_out  # noqa: E402


def test_a_student_s_own_work_is_never_overwritten(tmp_path):
    folder = hand_out(ROOT / "chapters", tmp_path)
    files = {path.relative_to(ROOT / "chapters") for path in (ROOT / "chapters").rglob("*") if path.is_file()
             and ".ipynb_checkpoints" not in path.parts}
    assert {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} == files
    (folder / "intro.ipynb").write_text("mine")
    (folder / "glossary.md").unlink()
    hand_out(ROOT / "chapters", tmp_path)
    assert (folder / "intro.ipynb").read_text() == "mine" and (folder / "glossary.md").exists()


def test_the_container_file_is_one_and_copies_what_is_there():
    """It is parsed, and not built: whether it runs nothing here can tell."""
    parser = optional("dockerfile_parse").DockerfileParser(
        fileobj=io.BytesIO((ROOT / "hub/Containerfile").read_bytes()))
    steps = [(step["instruction"], step["value"]) for step in parser.structure if step["instruction"] != "COMMENT"]
    names = [name for name, _ in steps]
    assert names[0] == "FROM" and set(names) <= {"FROM", "COPY", "RUN", "USER", "WORKDIR", "ENV", "EXPOSE", "CMD"}
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim", steps[0][1])
    copied = [value.split() for name, value in steps if name == "COPY"]
    wanted = {source for *sources, _ in copied for source in sources}
    assert all((ROOT / source).exists() for source in wanted)
    assert wanted >= {"requirements.txt", "code", "chapters", "hub/student.py"}
    program = json.loads(dict(steps)["CMD"])[1]
    assert program == f"{dict((sources[-1], target) for *sources, target in copied)['hub/student.py']}student.py"
    user = [value for name, value in steps if name == "USER"]
    assert user == ["1000"] and names.index("USER") > max(i for i, name in enumerate(names) if name in ("COPY", "RUN"))
    pinned = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["hub"]
    assert re.search(r"jupyterhub==[\d.]+", " ".join(value for name, value in steps if name == "RUN"))[0] in pinned


def test_the_settings_for_kubernetes_are_yaml_and_fit_the_container():
    text = (ROOT / "hub/zero-to-jupyterhub.yaml").read_text(encoding="utf-8")
    settings, container = yaml.safe_load(text), (ROOT / "hub/Containerfile").read_text(encoding="utf-8")
    assert "never tried on a cluster" in text and settings.keys() == {"hub", "singleuser", "cull", "proxy"}
    single, config = settings["singleuser"], CONFIG.read_text(encoding="utf-8")
    assert json.dumps(single["cmd"]) in container and f"WORKDIR {single['storage']['homeMountPath']}" in container
    image = single["image"]
    assert single["defaultUrl"] in config and f"{image['name']}:{image['tag']} ." in container
    assert image["tag"] == metacalc.__version__
    assert all(isinstance(value, str) for value in single["extraEnv"].values()) and single["networkPolicy"]["enabled"]
    assert settings["hub"]["config"]["Authenticator"]["allowed_users"] and settings["proxy"]["https"]["enabled"]


def wait_for(what, seconds=60):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "the hub is too slow"
        time.sleep(0.2)
    return found


@pytest.fixture
def hub(tmp_path):
    """Address of a running hub that knows one student, and the folder of the students' homes."""
    optional("jupyterhub")
    psutil, requests = optional("psutil"), optional("requests")
    (tmp_path / "students.txt").write_text("ada\n")
    settings = tmp_path / "ada/.jupyter/jupyter_server_config.json"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"ServerApp": {"allow_root": true}}')  # the tests may run in a container, as root
    ports = []
    for _ in range(3):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    public, api, inner = (f"http://127.0.0.1:{port}" for port in ports)
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", f"--config={CONFIG}", f"--JupyterHub.bind_url={public}",
             f"--JupyterHub.hub_bind_url={inner}",
             f"--ConfigurableHTTPProxy.api_url={api}", "--JupyterHub.authenticator_class=shared-password",
             f"--SharedPasswordAuthenticator.user_password={PASSWORD}",
             "--JupyterHub.spawner_class=simple", f"--SimpleLocalProcessSpawner.home_dir_template={tmp_path}/{{username}}"],
            cwd=tmp_path, stdout=log, stderr=log, env=os.environ | {"CONFIGPROXY_AUTH_TOKEN": uuid.uuid4().hex})

    def up():
        assert process.poll() is None, (tmp_path / "log").read_text()
        try:
            return requests.get(f"{public}/hub/health", timeout=5).ok
        except requests.RequestException:
            return False

    wait_for(up)
    yield public, tmp_path
    started = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    process.wait(30)
    gone, alive = psutil.wait_procs(started, timeout=10)
    for left in alive:
        left.kill()
    assert len(gone) >= 2 and not alive, "the hub left servers behind"


def log_in(session, address, name, password):
    form = session.get(f"{address}/hub/login", timeout=30).text
    (token,) = re.findall(r'name="_xsrf" value="([^"]+)"', form)
    return session.post(f"{address}/hub/login", {"username": name, "password": password, "_xsrf": token}, timeout=30)


def run(session, address, server, notebook):
    """The printed outputs of a notebook's code cells, run in order by a kernel of the student's server."""
    websocket = optional("websocket")
    token = {"X-XSRFToken": next(c.value for c in session.cookies if c.name == "_xsrf" and c.path.startswith(server))}
    kernel = session.post(f"{address}{server}api/sessions", headers=token, timeout=60, json={
        "path": "intro.ipynb", "name": "intro.ipynb", "type": "notebook", "kernel": {"name": "python3"}}).json()["kernel"]["id"]
    cookies = session.cookies.get_dict(path=server) | session.cookies.get_dict(path="/")
    channel = websocket.create_connection(f"{address.replace('http', 'ws')}{server}api/kernels/{kernel}/channels", timeout=60,
                                          cookie="; ".join(f"{k}={v}" for k, v in cookies.items()))
    printed = []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        asked = uuid.uuid4().hex
        channel.send(json.dumps({
            "header": {"msg_id": asked, "msg_type": "execute_request", "username": "", "session": "test", "version": "5.3"},
            "parent_header": {}, "metadata": {}, "channel": "shell", "content": {"code": cell.source, "silent": False}}))
        text = ""
        while True:
            frame = channel.recv()
            message = json.loads(frame) if isinstance(frame, str) else None  # the tables of a live figure come in bytes
            if message is None or message["parent_header"].get("msg_id") != asked:
                continue
            kind, content = message["msg_type"], message["content"]
            assert kind != "error", content["traceback"]
            if kind == "stream":
                text += content["text"]
            if kind == "execute_result":
                text += content["data"]["text/plain"] + "\n"
            if kind == "status" and content["execution_state"] == "idle":
                break
        printed.append(text)
    channel.close()
    return printed


def runs_a_chapter(session, address):
    """What the cells of the first page print, on the server that the hub starts for a student."""
    def spawned():
        page = session.get(f"{address}/user/ada/lab/tree/intro.ipynb", timeout=60)
        return page.ok and "/user/ada/lab/tree/intro.ipynb" in page.url and "jupyter-config-data" in page.text

    session.get(f"{address}/hub/spawn/ada", timeout=60)
    wait_for(spawned)
    notebook = session.get(f"{address}/user/ada/api/contents/intro.ipynb", timeout=30).json()["content"]
    return run(session, address, "/user/ada/", nbformat.from_dict(notebook))


def test_a_student_logs_in_and_runs_a_chapter(hub):
    address, homes = hub
    sessions = optional("requests").Session
    with sessions() as session:
        assert log_in(session, address, "ada", "wrong").status_code == 403
    with sessions() as session:
        assert log_in(session, address, "mallory", PASSWORD).status_code == 403, "who is not in students.txt is not let in"
    with sessions() as session:
        assert log_in(session, address, "ada", PASSWORD).ok
        printed = runs_a_chapter(session, address)
    stored = nbformat.read(ROOT / "chapters/intro.ipynb", as_version=4)
    expected = ["".join(o.get("text", "") or o.get("data", {}).get("text/plain", "") + "\n"
                        for o in cell.outputs if o.output_type in ("stream", "execute_result"))
                for cell in stored.cells if cell.cell_type == "code"]
    assert printed == expected and any("\n" in text for text in printed)
    assert (Path(homes) / "ada/metacalc/03_gradient_descent.ipynb").exists()
