"""What programs see that read the code: ruff its style, basedpyright its types. Both are set up in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, missing


@pytest.mark.parametrize("command", [("ruff", "check", "--no-cache"), ("basedpyright", "--pythonpath", sys.executable)],
                         ids=lambda command: command[0])
def test_the_checkout_is_clean(command):
    program = Path(sys.executable).with_name(command[0])
    if not program.exists():
        missing(f"{command[0]} is not installed: the code is not read by it")
    # Half a minute of one core for basedpyright, and ten times that on a busy machine before it counts as stuck.
    done = subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.fail(done.stdout + done.stderr, pytrace=False)
