"""plots - the pictures of scripts/bench sim and failover, by gnuplot."""
import math
import os
import subprocess

OURS, MEMBERLIST, SWIM, LIFEGUARD, PLAIN = "#1864ab", "#d9480f", "#6c757d", "#2b8a3e", "#495057"
TITLES = {"product": "session-mesh", "memberlist": "memberlist-LAN", "swim": "SWIM",
          "lifeguard": "Lifeguard"}
COLOURS = {"product": OURS, "memberlist": MEMBERLIST, "swim": SWIM, "lifeguard": LIFEGUARD}

# Lifeguard's paper, 128 members: first detection, s; false positives over its 4,320 Interval runs.
PUBLISHED_DETECTION = {"swim": (12.44, 16.96, 19.40), "lifeguard": (12.45, 17.90, 21.20)}
PUBLISHED_FALSE = {"swim": (339002 / 4320, 1326 / 4320), "lifeguard": (5193 / 4320, 25 / 4320)}
# serf's published model, no loss: s until 99.99 % of N know.
SERF_MODEL = ((30, 1.8), (100, 2.0), (1000, 2.2), (5000, 2.4))
# Agents of serf beside ours on one machine, idle: IP bytes/s that each sends.
SERF_PLAIN, SERF_ENCRYPTED = 259, 315

HEAD = """set terminal svg size 960,600 font "sans-serif,15" background "#ffffff" linewidth 1.2
set output "{path}"
set title "{title}" font "sans-serif,18"
set border 3 linecolor rgb "#495057"
set tics nomirror out
set key at screen 0.53,0.14 center top horizontal Left reverse maxcols 3 samplen 2.5 spacing 1.2
set xlabel offset 0,0.3
set bmargin at screen 0.275
set grid linecolor rgb "#dee2e6" linewidth 0.8
"""


def block(name, points):
    lines = [" ".join(str(one) for one in point) for point in points]
    return "\n".join([f"${name} << END", *lines, "END", ""])


def gnuplot(path, title, script):
    text = HEAD.format(path=path, title=title) + script
    done = subprocess.run(["gnuplot"], input=text, text=True, capture_output=True)
    if done.returncode != 0:
        raise SystemExit(f"bench: gnuplot: {done.stderr}")


def nines(share):
    return -math.log10(1 - share)


def read_samples(path):
    """Of the first detection, by preset."""
    samples = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            target, preset, _, _, value = line.rstrip("\n").split("\t")
            if target == "T1":
                samples.setdefault(preset, []).append(float(value))
    return samples


def draw_detection(path, samples):
    script, curves = "", []
    for preset, title in TITLES.items():
        values = sorted(samples[preset])
        script += block(preset, [(value, nines((n + 0.5) / len(values))) for n, value in enumerate(values)])
        curves.append(f'${preset} with lines linewidth 2.5 linecolor rgb "{COLOURS[preset]}" '
                      f'title "{title}"')
    for preset, values in PUBLISHED_DETECTION.items():
        script += block(f"paper_{preset}", zip(values, map(nines, (0.5, 0.99, 0.999))))
        mark = {"swim": 4, "lifeguard": 8}[preset]
        curves.append(f'$paper_{preset} with points pointtype {mark} pointsize 1.4 linewidth 2 '
                      f'linecolor rgb "{COLOURS[preset]}" title "{TITLES[preset]} (paper)"')
    script += block("aim", zip((3.5, 7.5, 10), map(nines, (0.5, 0.99, 0.999))))
    curves.append(f'$aim with points pointtype 2 pointsize 1.2 linewidth 2 linecolor rgb "{OURS}" '
                  'title "aim T1"')
    tics = ", ".join(f'"{text}" {nines(share):.4f}' for text, share in (
        ("0", 0), ("50", .5), ("90", .9), ("99", .99), ("99.9", .999)))
    script += f"""set xlabel "seconds from the crash to the first peer that holds it dead"
set ylabel "% of the crashes (scale of nines)"
set xrange [0:25]
set yrange [0:3.6]
set ytics ({tics})
plot {", ".join(curves)}
"""
    gnuplot(path, f"Detection of a crash, 128 peers ({len(samples['product']):,} crashes each)", script)


def sizes_axis(label):
    return f"""set logscale x
set xlabel "{label}"
set xtics (10, 32, 100, "300" 300, "1,000" 1000, "2,000" 2000, "5,000" 5000)
set xrange [25:6500]
"""


def by_size(rows, target, what, preset):
    """All sizes, those that are only for plots as well."""
    found = {row["peers"]: row for row in rows
             if (row["id"], row["what"], row["preset"]) == (target, what, preset)}
    return sorted(found.items())


def draw_convergence(path, rows):
    script, curves = block("model", SERF_MODEL) + block("aim", ((100, 1.2), (1000, 1.6), (5000, 2.0))), []
    for preset in ("product", "memberlist"):
        script += block(preset, [(n, row["median"], row["p999"]) for n, row in
                                 by_size(rows, "T8", "a join is known at 0 % loss", preset)])
        for column, name, dash in ((3, "p99.9", 1), (2, "median", 2)):
            curves.append(f'${preset} using 1:{column} with linespoints linewidth 2.5 dashtype {dash} '
                          f'pointtype 7 pointsize 0.7 linecolor rgb "{COLOURS[preset]}" '
                          f'title "{TITLES[preset]}, {name}"')
    curves.append(f'$model with lines linewidth 2 dashtype 4 linecolor rgb "{PLAIN}" '
                  "title \"serf's model, p99.99\"")
    curves.append(f'$aim with points pointtype 2 pointsize 1.2 linewidth 2 linecolor rgb "{OURS}" '
                  'title "aim T8"')
    gnuplot(path, "One join, until a peer knows of it (no loss)", sizes_axis("peers") + script + f"""
set ylabel "seconds"
set yrange [0:2.6<*]
plot {", ".join(curves)}
""")


def draw_bandwidth(path, rows):
    script, curves = "", []
    for preset in ("product", "memberlist"):
        script += block(preset, [(n, row["median"] * 1000) for n, row in
                                 by_size(rows, "T9", "sent by a peer, idle, mean", preset)])
        curves.append(f'${preset} with linespoints linewidth 2.5 pointtype 7 pointsize 0.7 '
                      f'linecolor rgb "{COLOURS[preset]}" title "{TITLES[preset]}"')
    for value, title, dash, colour in ((SERF_PLAIN, "serf, measured", 2, PLAIN),
                                       (SERF_ENCRYPTED, "serf encrypted, measured", 4, PLAIN),
                                       (500, "aim T9", 3, OURS)):
        curves.append(f'{value} with lines linewidth 2 dashtype {dash} linecolor rgb "{colour}" '
                      f'title "{title}: {value}"')
    gnuplot(path, "What an idle peer sends", sizes_axis("peers") + script + f"""
set ylabel "bytes/s, with IP headers, mean"
set yrange [0:600<*]
plot {", ".join(curves)}
""")


def draw_false(path, rows):
    """Bars on a logarithmic axis; none at all is written out."""
    floor = 0.001
    found = {(row["preset"], row["what"].endswith("healthy members")): row["median"] for row in rows
             if row["id"] == "T3" and row["what"].startswith("false positives a run")}
    runs = next(row["job"].seeds for row in rows if row["id"] == "T3")
    presets = ("swim", "lifeguard", "memberlist", "product")
    script, curves = "", []
    for is_healthy, name, colour, shift in ((False, "at any member", "#74a9cf", -0.18),
                                            (True, "at a healthy member", "#08519c", 0.18)):
        values = [(n + shift, found[preset, is_healthy]) for n, preset in enumerate(presets)]
        bars = f"bars{int(is_healthy)}"
        script += block(bars, [(x, max(value, floor), f"{value:.3g}") for x, value in values])
        curves.append(f'${bars} using 1:2:(0.32) with boxes fillstyle solid 1 noborder '
                      f'linecolor rgb "{colour}" title "raised {name}"')
        curves.append(f"${bars} using 1:2:3 with labels offset 0,0.7 notitle")
        papers = [(presets.index(preset) + shift, both[is_healthy])
                  for preset, both in PUBLISHED_FALSE.items()]
        script += block(f"paper{int(is_healthy)}", papers)
        title = 'notitle' if is_healthy else 'title "Lifeguard\'s paper (4,320 runs)"'
        curves.append(f"$paper{int(is_healthy)} with points pointtype 12 pointsize 1.8 linewidth 2.5 "
                      f'linecolor rgb "#d9480f" {title}')
    tics = ", ".join(f'"{TITLES[preset]}" {n}' for n, preset in enumerate(presets))
    title = f"Stalled members: the living taken for dead (128 peers, {runs} of Lifeguard's 432 intervals)"
    gnuplot(path, title, script + f"""set logscale y
set format y "%g"
set ylabel "false positives a run of 120 s"
set yrange [{floor}:20000]
set ytics (0.001, 0.01, 0.1, 1, 10, 100, "1,000" 1000, "10,000" 10000)
set xrange [-0.6:3.6]
set xtics ({tics})
plot {", ".join(curves)}
""")


def draw(directory, rows, samples):
    """Draws all into `directory`; the names and titles."""
    pictures = (("detection.svg", "Detection of a crash, 128 peers", draw_detection, read_samples(samples)),
                ("convergence.svg", "One join over the number of peers", draw_convergence, rows),
                ("bandwidth.svg", "Idle bytes over the number of peers", draw_bandwidth, rows),
                ("false_positives.svg", "False positives of stalled members", draw_false, rows))
    for name, _, picture, data in pictures:
        picture(os.path.join(directory, name), data)
    return [(name, title) for name, title, _, _ in pictures]


# ---- scripts/bench failover ----------------------------------------------------------------------

BIN_S = 0.1


def draw_failover(path, title, verdict):
    """Calls by when they were due: median, p99 and the slowest of each tenth of a second; those without
    an answer as marks."""
    bins, slow = {}, {"slow", "slow_counter"}
    marks = {"error": [], "other": []}
    for call in verdict.record.calls:
        when = call.due - verdict.fault
        if call.outcome == "ok" and call.tool not in slow:
            bins.setdefault(math.floor(when / BIN_S), []).append((call.done - call.due) * 1000)
        elif call.outcome != "ok":
            marks["error" if call.outcome == "error" else "other"].append((round(when, 2), 20000))
    rows = []
    for number, values in sorted(bins.items()):
        values.sort()
        rows.append((round(number * BIN_S, 2), f"{max(values[len(values) // 2], 0.1):.2f}",
                     f"{max(values[-1], 0.1):.2f}"))
    script = block("calls", rows)
    curves = [f'$calls using 1:3 with lines linewidth 1.4 linecolor rgb "{MEMBERLIST}" '
              'title "the slowest of 0.1 s"',
              f'$calls using 1:2 with lines linewidth 2.2 linecolor rgb "{OURS}" title "median"']
    for name, colour, words in (("error", "#c2255c", "told in-band that its outcome is unknown"),
                                ("other", "#000000", "no answer")):
        if marks[name]:
            script += block(name, marks[name])
            curves.append(f'${name} with points pointtype 9 pointsize 0.8 linecolor rgb "{colour}" '
                          f'title "{words}: {len(marks[name]):,}"')
    gnuplot(path, title, script + f"""set xlabel "seconds from the fault; calls by when they were due"
set ylabel "milliseconds"
set logscale y
set yrange [0.1:30000]
set ytics ("0.1" 0.1, "1" 1, "10" 10, "100" 100, "1,000" 1000, "10,000" 10000)
set arrow from 0, graph 0 to 0, graph 1 nohead dashtype 3 linecolor rgb "{PLAIN}"
plot {", ".join(curves)}
""")
