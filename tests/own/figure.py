#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What own_guidance_input prints can be read and drawn: figure.py FOLDER_OF_FIGURES"""
import io
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
try:
    import guidance
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

PRINTED = """omega  interval    own class  precision  recall
  1.0  [0.0, 1.0]      0.895      0.983   0.872
  5.0  [0.0, 1.0]      1.000      0.988   0.056
  5.0  [0.2, 0.9]      1.000      0.994   0.082
"""
assert guidance.read(PRINTED.splitlines()) == [(1, 0.895, 0.983, 0.872), (5, 1, 0.988, 0.056)]

with tempfile.TemporaryDirectory() as folder:
    out = Path(folder) / "guidance.png"
    sys.argv, sys.stdin = ["guidance.py", str(out)], io.StringIO(PRINTED)
    guidance.main()
    assert out.read_bytes().startswith(b"\x89PNG")
