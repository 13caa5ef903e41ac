"""figures - what a process costs, as the kernel tells it: for the parts that measure."""
import json
import os

from harness import sure

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
