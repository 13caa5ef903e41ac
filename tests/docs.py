#!/usr/bin/env python3
"""docs.py MESHD - what README.md and SECURITY.md name is there: files, and settings of meshd."""
import glob
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ("mesh", "http", "node", "sim", "tests", "scripts", "deploy", "docs")
# of other programs that the pages name
OTHERS = {"--faults", "--file", "--scenario", "--seed", "--seeds", "--no-copies", "--identities", "--shrink",
          "--once", "--long", "--its-flags", "--markdown", "--connections", "--rounds"}


def places(page):
    """Paths that stand in backticks, or behind a link's bracket."""
    words = re.findall(r"`([^`\s]+)`", page) + re.findall(r"\]\(([^)#\s]+)\)", page)
    return {word for word in words if word.split("/")[0] in FOLDERS and "/" in word and ":" not in word}


def main():
    settings = subprocess.run([sys.argv[1], "settings", "--markdown"], capture_output=True, text=True, check=True)
    known = set(re.findall(r"--[a-z][a-z-]+", settings.stdout)) | OTHERS
    failed = 0
    for name in ("README.md", "SECURITY.md"):
        with open(os.path.join(ROOT, name), encoding="utf-8") as file:
            page = file.read()
        missing = sorted(place for place in places(page) if not glob.glob(os.path.join(ROOT, place)))
        missing += sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page)) - known)
        failed += bool(missing)
        print(f"{'not ok' if missing else 'ok'} - what {name} names is there")
        for one in missing:
            print(f"#   {one}")
    return 1 if failed else 0


sys.exit(main())
