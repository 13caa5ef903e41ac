#!/usr/bin/env python3
"""sim [--quick] [--most N] [--again] [--jobs N] [--build DIR] [--no-file] - how good membership is: the targets
T1 to T10 and T14 to T17, ours and the control's (memberlist's LAN parameters) from one run of the same
simulator, beside what others published.

Runs sim/mesh-measure, whose gate has to hold first (Lifeguard's published figures come out), and
tests/bench_ring; prints one table and writes it to docs/figures/membership.md, with plots beside it.
About 20 minutes on two quiet cores. Virtual time: a busy machine changes nothing but T14 and T17, which
run alone and count their own CPU time.

  --quick    fewer seeds and sizes, for trying, under two minutes; written to build/sim-figures/
  --most N   leaves out meshes of more peers
  --again    nothing is measured: what the last run left in build/sim-figures/ is written again
  --no-file  only prints"""
import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "system")]
sys.dont_write_bytecode = True

import plots
from figures import commit, machine
from harness import ROOT

LEFT = os.path.join(ROOT, "build/sim-figures")
MEASURED = ("mesh", "sim", "tests/bench", "meson.build")
PLOT_SIZES = (32, 300, 2000)  # beside those that have targets
ALL_PRESETS = ("product", "memberlist", "swim", "lifeguard")
COLUMNS = ("id", "preset", "peers", "what", "unit", "count", "never", "median", "p99", "p999", "most", "anchor",
           "target", "verdict")


class Job:
    """One run of a program: which figures, how many peers and seeds (None: as the program has it)."""

    def __init__(self, what, peers=None, seeds=None, quick=False, is_shown=True, more=()):
        self.what, self.is_shown, self.seeds, self.peers = what, is_shown, seeds, peers
        self.name = f"{what}-{peers}" if peers else what
        if what == "ring":
            self.argv = ["tests/bench_ring", "--tsv"]
        else:
            self.argv = ["sim/mesh-measure", what, "--tsv", *more]
            self.argv += ["--n", str(peers)] if peers else []
            self.argv += ["--seeds", str(seeds)] if seeds else []
        if quick:
            self.argv.append("--quick")
        if what == "t1":
            for preset in ALL_PRESETS:
                self.argv += ["--preset", preset]
            self.argv += ["--samples", os.path.join(LEFT, "t1.samples")]

    def path(self):
        return os.path.join(LEFT, self.name + ".tsv")

    def run(self, build):
        begun = time.monotonic()
        with open(self.path(), "w", encoding="utf-8") as out:
            done = subprocess.run([os.path.join(build, self.argv[0]), *self.argv[1:]], stdout=out)
        print(f"{self.name}: {time.monotonic() - begun:.0f} s", flush=True)
        if done.returncode not in (0, 1):
            sys.exit(f"bench: {' '.join(self.argv)}: exit code {done.returncode}")

    def rows(self):
        with open(self.path(), encoding="utf-8") as file:
            for line in file:
                row = dict(zip(COLUMNS, line.rstrip("\n").split("\t"), strict=True))
                for name in ("median", "p99", "p999", "most"):
                    row[name] = float(row[name]) if row[name] else None
                yield {**row, "peers": int(row["peers"]), "count": int(row["count"]),
                       "never": int(row["never"]), "job": self}


def jobs_full():
    """The longest first."""
    curve = [Job("t8", n, 1, quick=True, is_shown=False) for n in PLOT_SIZES]
    curve += [Job("t9", n, 1, is_shown=False) for n in PLOT_SIZES]
    return [Job("t7", 5000, 1), Job("t8", 5000, 1), Job("t10", 5000, 1), Job("t2", 5000, 2),
            Job("t16", 4500, 1), Job("t3", seeds=72), Job("gate"), Job("t9", 5000, 1), Job("t4", seeds=20),
            Job("t15", 1000, 1), Job("t6", 1000, 3), Job("t5", 1000, 3), Job("r10", 200, 5),
            Job("r11", 200, 20), Job("t7", 2000, 1),
            Job("t1", 128, 20), Job("t7", 1000, 2), Job("t7", 100, 20), Job("t2", 1000, 2),
            Job("t8", 1000, 1), Job("t10", 1000, 1), Job("t8", 100, 4), Job("t10", 100, 4),
            Job("t9", 1000, 1), Job("t9", 128, 1), *curve]


def jobs_quick():
    return [Job("gate", seeds=18, quick=True), Job("t3", seeds=3, quick=True), Job("t1", 128, 2, quick=True),
            Job("t4", seeds=1, quick=True), Job("t5", 200, 1), Job("t6", 200, 1), Job("t7", 100, 4),
            Job("t8", 100, 1, quick=True), Job("t10", 100, 1, quick=True), Job("t9", 128, 1),
            Job("t15", 128, 1, quick=True), Job("t16", 128, 1),
            *[Job("t8", n, 1, quick=True, is_shown=False) for n in (32, 300)],
            *[Job("t9", n, 1, is_shown=False) for n in (32, 300, 1000)]]


def run_all(jobs, alone, options, build):
    """Each by itself is one thread, so as many at once as there are cores."""
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for done in [pool.submit(job.run, build) for job in jobs]:
            done.result()
    for job in alone:
        job.run(build)


# ---- the table ----------------------------------------------------------------------------------

def number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value == int(value) else f"{value:.3g}"


def cell(row):
    if row is None:
        return "–"
    if row["count"] == 0:
        return "never"
    values = [row["median"]] + ([row["p99"], row["p999"], row["most"]] if row["p99"] is not None else [])
    never = f" ({row['never']:,} of {row['count'] + row['never']:,} never)" if row["never"] else ""
    return " / ".join(number(value) for value in values) + never


def place(target):
    """T2 before T10, and those of reliability.md, R10 and R11, behind."""
    return target[0] != "T", int("".join(filter(str.isdigit, target))), target


def words(text):
    return "" if text == "-" else text


def table(rows):
    """One line for each figure and size; presets side by side."""
    lines = ["| target | figure | unit | peers | seeds | published | memberlist-LAN | ours | aim | |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    by_line = {}
    for row in rows:
        if row["job"].is_shown and row["id"] != "gate" and row["preset"] in ("product", "memberlist"):
            by_line.setdefault((row["id"], row["what"], row["unit"], row["peers"]), {})[row["preset"]] = row
    for key in sorted(by_line, key=lambda key: (place(key[0]), key[3])):  # stable: figures stay in order
        of = by_line[key]
        ours = of["product"]
        seeds = {"ring": "–", "t17": 1}.get(ours["job"].what, ours["job"].seeds)
        lines.append(f"| {key[0]} | {key[1]} | {key[2]} | {key[3]:,} | {seeds} | {words(ours['anchor'])} | "
                     f"{cell(of.get('memberlist'))} | {cell(ours)} | {words(ours['target'])} | "
                     f"{words(ours['verdict'])} |")
    return lines


def gate_lines(rows):
    gates = [row for row in rows if row["verdict"] in ("holds", "FAILS")]
    lines = [f"- {row['preset']}, {row['what']}: {number(row['median'])} ({limits(row)}): {row['verdict']}"
             for row in gates]
    return gates != [] and all(row["verdict"] == "holds" for row in gates), lines


def limits(row):
    low, high = (float(limit) for limit in row["target"].split(".."))
    return f"at least {number(low)}" if high > 1e9 else f"{number(low)} to {number(high)}"


def write(directory, run, gates, lines, pictures):
    share = "\n**A quick run: few seeds, small meshes; for trying only.**\n" if run["is_quick"] else ""
    if run["most"] < 5000:
        share += f"\nWithout meshes of more than {run['most']:,} peers (`--most`).\n"
    images = "\n\n".join(f"![{title}]({name})" for name, title in pictures)
    with open(os.path.join(directory, "membership.md"), "w", encoding="utf-8") as file:
        file.write(f"""# Membership in virtual time

Made by `scripts/bench sim`: commit {run["commit"]}, {run["date"]}, {run["machine"]}; {run["minutes"]:.0f} minutes.
{share}
Ours and the control (`memberlist-LAN`: the protocol parameters of memberlist's LAN profile) are the same
code with other presets, in the same simulator (`sim/mesh-measure`), with the same seeds, from 1 on.
Several values are median / p99 / p99.9 / max over all seeds, and peers or repeats in a seed; "never": not
within the time that each run waits. What is published was measured by others, elsewhere: SWIM and Lifeguard (their
papers), Rapid's comparison (ATC'18), serf's convergence model and its bytes beside us; no others gave
figures. T14 (`tests/bench/bench_ring.c`) and T17 are of this machine. Where ours misses an aim it says so.

{chr(10).join(lines)}

## Is the simulator to be believed?

What Lifeguard's authors published for SWIM and Lifeguard has to come out, within 8 % (latencies):

{chr(10).join(gates)}

## Plots

Of the papers and the aims median, p99 and p99.9 are marked; the papers' members were stalled for 16 or
32 s where these crash.

{images}
""")


# ---- running ------------------------------------------------------------------------------------

def arguments():
    parser = argparse.ArgumentParser(prog="bench sim", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--most", type=int, default=5000, help="peers")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="programs at once")
    parser.add_argument("--build", help="a build that is there, instead of build/gcc made anew")
    parser.add_argument("--no-file", action="store_true")
    return parser.parse_args()


def make(options):
    if subprocess.run([os.path.join(ROOT, "scripts/need"), "sim"]).returncode != 0:
        sys.exit(2)
    build = os.path.abspath(options.build or os.path.join(ROOT, "build/gcc"))
    if not options.build and not os.path.exists(os.path.join(build, "build.ninja")):
        subprocess.run(["meson", "setup", build, ROOT, "-Dwerror=true"], check=True,
                       stdout=subprocess.DEVNULL, env={**os.environ, "CC": "gcc"})
    if not options.build:
        subprocess.run(["ninja", "-C", build, "--quiet", "sim/mesh-measure", "tests/bench_ring"], check=True)
    return build


def measure(options, path):
    build = make(options)
    os.makedirs(LEFT, exist_ok=True)
    begun = time.monotonic()
    run = {"is_quick": options.quick, "most": options.most, "commit": commit(MEASURED), "date": time.strftime("%Y-%m-%d"),
           "machine": machine()}
    run_all(*plan(options.quick, options.most), options, build)
    run["minutes"] = (time.monotonic() - begun) / 60
    with open(path, "w", encoding="utf-8") as file:
        json.dump(run, file)


def plan(is_quick, most):
    jobs = jobs_quick() if is_quick else jobs_full()
    return [job for job in jobs if job.peers is None or job.peers <= most], [Job("t17", quick=is_quick), Job("ring", quick=is_quick)]


def main():
    options = arguments()
    path = os.path.join(LEFT, "run.json")
    if not options.again:
        measure(options, path)
    with open(path, encoding="utf-8") as file:
        run = json.load(file)
    jobs, alone = plan(run["is_quick"], run["most"])
    rows = [row for job in jobs + alone for row in job.rows()]
    is_gate_open, gates = gate_lines(rows)
    lines = table(rows)
    print("\n" + "\n".join(lines + gates))
    if not is_gate_open:
        sys.exit("bench: the gate does not hold: no figure counts, nothing is written")
    if options.no_file:
        return
    directory = LEFT if run["is_quick"] else os.path.join(ROOT, "docs/figures")
    pictures = plots.draw(directory, rows, os.path.join(LEFT, "t1.samples"))
    write(directory, run, gates, lines, pictures)
    print(f"written to {os.path.relpath(directory, ROOT)}")


main()
