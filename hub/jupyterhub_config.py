"""A JupyterHub for a class: students log in, and find the chapters in a folder of their own, in JupyterLab.

    cd /srv/metacalc-hub    # where students.txt is, and where the hub keeps its state
    /srv/metacalc/.venv/bin/jupyterhub --config /srv/metacalc/hub/jupyterhub_config.py

As it stands, students have accounts on the machine (PAM). Any setting can be replaced on the command line, as `make hub` and
the tests do to have users without accounts.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
c = get_config()  # noqa: F821, JupyterHub provides it

# Behind a web server with a certificate, which alone is open to the network.
c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.ConfigurableHTTPProxy.command = [
    str(Path(sys.executable).with_name("configurable-http-proxy"))]

# One name a line. Without the file nobody is let in.
names = Path("students.txt")
c.Authenticator.allowed_users = (
    set(names.read_text(encoding="utf-8").split()) if names.exists() else set())

# Each student's server: the course's own environment, with the chapters
# copied into the student's home at the start.
c.Spawner.cmd = [sys.executable, str(HERE / "student.py")]
c.Spawner.default_url = "/lab/tree/intro.ipynb"
c.Spawner.start_timeout = c.Spawner.http_timeout = 120
c.Spawner.environment = {
    "JUPYTER_PREFER_ENV_PATH": "1",  # the course's kernel, not one from a home
    "OPENBLAS_NUM_THREADS": "1",  # a class shares the processors
}
# What is left open is closed: a kernel after an hour, a server after three.
c.Spawner.args = [
    "--MappingKernelManager.cull_idle_timeout=3600",
    "--ServerApp.shutdown_no_activity_timeout=10800",
]
