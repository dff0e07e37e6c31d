#!/usr/bin/python3
"""Tables in markdown of what compare.sh has timed.

    apps/bench/compare_tables.py steps DIRECTORY THREADS EXPERIMENT...
    apps/bench/compare_tables.py ops DIRECTORY

DIRECTORY has a file per side, and the rounds one after another in it: EXPERIMENT.KIND with the JSON
of bench, or ops.KIND with the lines of op_times.
"""

import json
import pathlib
import statistics
import sys

# Of each kind of PyTorch: its column. Those that were not timed have none.
PEERS = {"plain": "PyTorch", "tuned": "tuned PyTorch", "fused": "and fused Adam", "compiled": "and torch.compile"}


def ms(values):
    return f"{statistics.median(values):.1f}"


def ratio(over, under, digits=1):
    each = [a / b for a, b in zip(over, under)]
    spread = f" ({min(each):.{digits}f} to {max(each):.{digits}f})" if len(each) > 1 else ""
    return f"{statistics.median(each):.{digits}f}{spread}"


def print_row(cells):
    print("| " + " | ".join(cells) + " |")


# ---- Training steps -------------------------------------------------------------------------


def runs(path):
    text, decoder, found = path.read_text().strip(), json.JSONDecoder(), []
    while text:
        run, end = decoder.raw_decode(text)
        found.append(run)
        text = text[end:].lstrip()
    return found


def times(kind):
    return [run["ms_per_step"]["median"] for run in kind]


def learned_100(run):
    return [s["ms"] for s in run["sampling"] if s["inverse"] == "learned" and s["samples"] == 100]


def step_cells(name, timed, peers):
    ours, step = timed["snf"], times(timed["snf"])
    floor = statistics.median(a / run["floor_ms"] for a, run in zip(step, ours))
    threaded = statistics.median(a / b for a, b in zip(times(timed["one"]), step))
    cells = [f"`{name}`", ms(step), f"{floor:.2f}", f"{threaded:.2f}", ms(times(timed["plain"]))]
    cells += [ratio(times(timed[kind]), step) for kind in peers]
    drawn = [time for run in ours for time in learned_100(run)]
    theirs = [ms([run["sampling_100_ms"] for run in timed[kind]]) for kind in ("plain", "tuned")] if drawn else []
    return cells + [", ".join([ms(drawn)] + theirs) if drawn else ""]


def print_steps(directory, threads, *experiments):
    peers = [kind for kind in PEERS if (directory / f"{experiments[0]}.{kind}").exists()]
    print_row(["experiment", "snf, ms a step", "over its floor", f"1 thread over {threads}", "PyTorch, ms"]
              + [f"{PEERS[kind]} over snf" for kind in peers] + ["ms for 100 samples: snf, PyTorch, tuned"])
    print("|---|" + "---:|" * (5 + len(peers)))
    squares = []
    for name in experiments:
        timed = {kind: runs(directory / f"{name}.{kind}") for kind in ["snf", "one"] + peers}
        squares += [run["square_product_gflops"] for run in timed["snf"]]
        print_row(step_cells(name, timed, peers))
    print(f"\nLarge products: {statistics.median(squares):.0f} GFLOP/s.")


# ---- Single ops -----------------------------------------------------------------------------


def rounds(path):
    """Of each row the microseconds of each round: values, and values with gradients."""
    found = {}
    for line in path.read_text().splitlines():
        name, value, both = line.split("\t")
        found.setdefault(name, ([], []))
        found[name][0].append(float(value))
        found[name][1].append(float(both))
    return found


def print_ops(directory):
    ours, theirs = rounds(directory / "ops.snf"), rounds(directory / "ops.tuned")
    if not theirs.keys() <= ours.keys():
        sys.exit("compare_tables: rows of theirs alone: " + ", ".join(sorted(theirs.keys() - ours.keys())))
    print_row(["op", "snf, us", "with gradients", "PyTorch over snf", "with gradients"])
    print("|---|" + "---:|" * 4)
    medians = []
    for name, mine in ours.items():
        if name not in theirs:
            print_row([name] + [ms(us) for us in mine] + ["no such op", ""])
            continue
        medians.append([statistics.median(a / b for a, b in zip(theirs[name][i], mine[i])) for i in (0, 1)])
        print_row([name] + [ms(us) for us in mine] + [ratio(theirs[name][i], mine[i], 2) for i in (0, 1)])
    behind = sum(min(pair) < 0.95 for pair in medians)
    print(f"\nIn {behind} of {len(medians)} rows PyTorch takes less than 0.95 of our time, at value or both.")


if __name__ == "__main__":
    what, where, *others = sys.argv[1:]
    {"steps": print_steps, "ops": print_ops}[what](pathlib.Path(where), *others)
