"""What is loaded while the server starts, or just after: all that a page would load for its first visitor."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# In a process of its own: this one has imported everything.
PROGRAM = """
import ast
import sys
from pathlib import Path

import app
from pages.parts.chat import transcript
from pages.parts.ui.preload import load_rest

assert "pages.parts.browse.browse_table" not in sys.modules
load_rest()
loaded = set(sys.modules)
for script in sorted(Path("pages").glob("*.py")):
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module not in loaded:
            print(f"{script.name} imports {node.module}")
"""


def test_everything_that_a_page_imports_is_loaded_before_its_first_visitor() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
