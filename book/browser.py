"""The Chromium that is installed, by whatever name, and how it is started."""

import shutil

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"]


def program():
    """Its path, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)
