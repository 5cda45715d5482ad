# SPDX-License-Identifier: MIT
"""check.py SOURCE COMPILER [OPTION...]: whether SOURCE compiles, or fails, as its first line says."""
import re
import subprocess
import sys

FIRST_LINES = 30


def main() -> int:
    source, *command = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        # The line before it, if any, is the licence.
        lines = [line.strip() for line in file.readlines()[:2]]
    wanted = next(line for line in lines if line.startswith(("// error: ", "// compiles")))
    run = subprocess.run([*command, "-fsyntax-only", source], capture_output=True, text=True)
    first = "\n".join(run.stderr.splitlines()[:FIRST_LINES])
    if wanted.startswith("// compiles"):
        if run.returncode == 0:
            return 0
        print(f"{source} does not compile:\n{first}")
        return 1
    pattern = wanted.removeprefix("// error: ")
    if run.returncode == 0:
        print(f"{source} compiles, but must not")
        return 1
    if not re.search(pattern, first):
        print(f"{source}: '{pattern}' is not in the first {FIRST_LINES} lines of the error:\n{first}")
        return 1
    return 0


sys.exit(main())
