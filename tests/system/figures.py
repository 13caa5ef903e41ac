"""figures - what a process costs, as the kernel tells it, and where and of what it was measured: for
the parts that measure, and the benchmarks."""
import json
import os
import platform
import subprocess

from harness import ROOT, sure

TICKS = os.sysconf("SC_CLK_TCK")


def memory_kib(pid, field="VmRSS"):
    """VmRSS, or VmHWM: the most that it was."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1])
    raise AssertionError(f"no {field} of {pid}")


def forget_most(pid):
    """From here on VmHWM is the most since now; False: the kernel does not allow that."""
    try:
        with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as refs:
            refs.write("5")
    except OSError:
        return False
    return True


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def tool_report(process, seconds):
    """What a tool says on its last line, and its exit code."""
    code = process.wait(seconds)
    lines = [line for line in process.text().splitlines() if line.startswith("{")]
    sure(lines, process.name, "exit code", code, process.text()[-800:])
    return code, json.loads(lines[-1])


def machine():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
        model = next((line.partition(":")[2].strip() for line in info
                      if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}"


def commit(measured=("mesh", "http", "node", "tests/tools", "meson.build")):
    """What is checked out, and whether what is measured was changed since."""
    def git(*words):
        done = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True)
        return done.stdout.strip()
    changed = " with changes" if git("status", "--porcelain", "--", *measured) else ""
    return (git("rev-parse", "--short", "HEAD") or "no repository") + changed
