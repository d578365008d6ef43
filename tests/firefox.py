"""Firefox without a driver beside it: it speaks WebDriver BiDi itself, messages in JSON over a socket.

Playwright brings a Firefox of its own and cannot drive one that is installed. This can, and has what the tests need: one tab,
JavaScript, keys, a mouse, and what the console was told.
"""

import itertools
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import websocket

PROGRAMS = ("firefox-esr", "firefox")
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Escape": "\ue00c", "End": "\ue010", "Home": "\ue011", "ArrowLeft": "\ue012",
        "ArrowUp": "\ue013", "ArrowRight": "\ue014", "ArrowDown": "\ue015"}
STARTS = 60  # seconds; a start takes three of them, and on a busy machine several times that


def program():
    """The path of an installed Firefox, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Firefox:
    """A headless Firefox with a profile of its own and one tab; `with` ends it."""

    def __enter__(self):
        self.numbers, self.troubles, self.socket = itertools.count(1), [], None
        self.profile = tempfile.TemporaryDirectory(prefix="firefox", ignore_cleanup_errors=True)
        self.process = subprocess.Popen(
            [program(), "--headless", "--no-remote", "--profile", self.profile.name, "--remote-debugging-port", "0"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            # The header that names an origin would be that of a page, which Firefox does not let in.
            self.socket = websocket.create_connection(f"{self._address()}/session", timeout=120, suppress_origin=True)
            self.ask("session.new", capabilities={})
            self.ask("session.subscribe", events=["log.entryAdded"])
            self.tab = self.ask("browsingContext.create", type="tab")["context"]
            self.ask("browsingContext.setViewport", context=self.tab, viewport={"width": 1280, "height": 900})
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.socket:
            self.socket.shutdown()  # says no goodbye: what it would wait for is being ended
        self.process.terminate()
        self.process.wait()
        self.profile.cleanup()

    def _address(self):
        """Where it listens: at a free port, which it writes into its profile."""
        told, end = Path(self.profile.name) / "WebDriverBiDiServer.json", time.monotonic() + STARTS
        while time.monotonic() < end and self.process.poll() is None:
            if told.exists() and (text := told.read_text()).endswith("}"):
                return "ws://{ws_host}:{ws_port}".format(**json.loads(text))
            time.sleep(0.05)
        raise TimeoutError("Firefox did not start")

    def ask(self, method, **params):
        """The result of a command of the protocol. What the console was told meanwhile goes to `troubles`, if it is one."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("method") == "log.entryAdded" and message["params"]["level"] in ("error", "warn"):
                self.troubles.append(message["params"]["text"])
            if message.get("id") == number:
                if message["type"] == "error":
                    raise RuntimeError(f"{method}: {message['message']}")
                return message["result"]

    def open(self, address):
        """Show a page, and wait until all of it is loaded."""
        self.ask("browsingContext.navigate", context=self.tab, url=address, wait="complete")

    def call(self, function, *arguments):
        """What a JavaScript function returns, or its promise brings; arguments and result are whatever JSON can say."""
        done = self.ask(
            "script.callFunction", target={"context": self.tab}, awaitPromise=True,
            functionDeclaration=f"async (given) => JSON.stringify(await ({function})(...JSON.parse(given)))",
            arguments=[{"type": "string", "value": json.dumps(arguments)}])
        if done["type"] == "exception":
            raise RuntimeError(done["exceptionDetails"]["text"])
        return json.loads(done["result"].get("value", "null"))

    def wait(self, function, *arguments, seconds=20):
        """The first value of a JavaScript function that is true, asked for until then."""
        found = self.call(f"""async (...given) => {{
          for (const end = Date.now() + {1000 * seconds}; Date.now() < end; await new Promise((f) => setTimeout(f, 20))) {{
            const found = await ({function})(...given);
            if (found) return found;
          }}
        }}""", *arguments)
        if found is None:
            raise TimeoutError(function)
        return found

    def press(self, *keys):
        """Press keys one after the other: names of `KEYS`, or single letters."""
        actions = [{"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        self.ask("input.performActions", context=self.tab, actions=[{"type": "key", "id": "keys", "actions": actions}])

    def mouse(self, *steps):
        """Move the mouse to places (x, y) of the window, and press or let go of its button where a step is "down" or "up"."""
        kinds = {"down": {"type": "pointerDown", "button": 0}, "up": {"type": "pointerUp", "button": 0}}
        actions = [kinds[step] if step in kinds else {"type": "pointerMove", "x": round(step[0]), "y": round(step[1])}
                   for step in steps]
        self.ask("input.performActions", context=self.tab, actions=[{"type": "pointer", "id": "mouse", "actions": actions}])
