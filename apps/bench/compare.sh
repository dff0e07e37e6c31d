#!/usr/bin/env bash
# Races snf against PyTorch: the training steps of peer_torch.py, plain and tuned, run alternately
# with ours on the same batches and threads, because the speed of a machine changes from minute to
# minute. Prints a table of the ratios (medians of the pairs) and writes it as markdown.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source apps/setup.sh

usage() {
  cat <<'EOF'
usage: apps/bench/compare.sh [OPTION]...
  --experiments A,B,...  [default: all that peer_torch.py knows]
  --threads N            [default: 2]
  --pairs N              pairs of runs for each experiment [default: 3; one for the full-size Glow]
  --out FILE             the table as markdown [default: build/compare.md]
EOF
}

experiments=selfnorm_fc_mnist,exact_fc_mnist,selfnorm_cnn_mnist,exact_cnn_mnist
experiments+=,emerging_cnn_mnist,exponential_cnn_mnist,geco_selfnorm_glow_mnist,selfnorm_glow_mnist
threads=2 pairs=3 out=build/compare.md command="apps/bench/compare.sh $*"
while (($#)); do
  case $1 in
    --help) usage; exit ;;
    --experiments | --threads | --pairs | --out) (($# > 1)) || die "compare.sh: $1 expects a value; see --help" ;;&
    --experiments) experiments=$2 ;;
    --threads) threads=$2 ;;
    --pairs) pairs=$2 ;;
    --out) out=$2 ;;
    *) die "compare.sh: there is no option '$1'; see --help" ;;
  esac
  shift 2
done
for number in "$threads" "$pairs"; do
  [[ $number =~ ^[1-9][0-9]*$ ]] || die "compare.sh: expected a number above 0, got '$number'"
done

install_build_tools
install python3 python3-torch
if [[ ! -f build/build.ninja ]]; then configure build; fi
say "building build/apps/snf"
ninja -C build --quiet apps/snf

runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT

# race EXPERIMENT PAIRS OUR_STEPS THEIR_STEPS: the JSON of each run, side by side.
race() {
  local pair name=$runs/$1
  for ((pair = 1; pair <= $2; ++pair)); do
    say "$1, pair $pair of $2: snf, $3 steps on $threads threads and on 1; PyTorch, $4 steps, twice"
    build/apps/snf bench "$1" --steps "$3" --threads "$threads" --json >"$name.$pair.ours"
    /usr/bin/python3 apps/bench/peer_torch.py "$1" --steps "$4" --threads "$threads" --json >"$name.$pair.plain"
    build/apps/snf bench "$1" --steps "$3" --threads 1 --json >"$name.$pair.one"
    /usr/bin/python3 apps/bench/peer_torch.py "$1" --steps "$4" --threads "$threads" --tuned --json >"$name.$pair.tuned"
  done
}

IFS=, read -ra chosen <<<"$experiments"
for experiment in "${chosen[@]}"; do
  case $experiment in
    selfnorm_glow_mnist) race "$experiment" 1 3 1 ;;
    *_fc_mnist | geco_*) race "$experiment" "$pairs" 40 20 ;;
    *) race "$experiment" "$pairs" 30 5 ;;
  esac
done

say "the ratios, also in $out"
mkdir -p "$(dirname "$out")"
/usr/bin/python3 - "$runs" "$experiments" "$threads" "$command" <<'EOF' | tee "$out"
import datetime, json, pathlib, platform, statistics, subprocess, sys
import torch

runs, experiments, threads, command = sys.argv[1:]
median = statistics.median

def load(experiment, kind):
    return [json.loads(p.read_text()) for p in sorted(pathlib.Path(runs).glob(f"{experiment}.*.{kind}"))]

def ms(run):
    return run["ms_per_step"]["median"]

def samples(run):
    return next((s["ms"] for s in run["sampling"] if s["inverse"] == "learned" and s["samples"] == 100), None)

def ratio(over, under):
    all_ = [a / b for a, b in zip(over, under)]
    return f"{median(all_):.1f} ({min(all_):.1f} to {max(all_):.1f})" if len(all_) > 1 else f"{all_[0]:.1f}"

print(f"| experiment | snf, ms | over its floor | 1 thread over {threads} | PyTorch, ms | PyTorch over snf | tuned PyTorch over snf | 100 samples, ms: snf, PyTorch |")
print("|---|---|---|---|---|---|---|---|")
for experiment in experiments.split(","):
    ours, one, plain, tuned = (load(experiment, kind) for kind in ("ours", "one", "plain", "tuned"))
    step, drawn = [ms(run) for run in ours], [samples(run) for run in ours]
    cells = [f"`{experiment}`", f"{median(step):.1f}",
             f"{median(a / run['floor_ms'] for a, run in zip(step, ours)):.2f}",
             f"{median(ms(a) / b for a, b in zip(one, step)):.2f}",
             f"{median(map(ms, plain)):.0f}", ratio(map(ms, plain), step), ratio(map(ms, tuned), step),
             f"{median(drawn):.1f}, {median(run['sampling_100_ms'] for run in plain):.0f}" if drawn[0] else ""]
    print("| " + " | ".join(cells) + " |")

cpu = subprocess.run("lscpu | sed -n 's/^Model name: *//p' | head -n 1; nproc", shell=True, capture_output=True, text=True).stdout.split("\n")
everything = [run for experiment in experiments.split(",") for run in load(experiment, "ours")]
print()
print(f"Medians of pairs, batches of {everything[0]['batch_size']}, {threads} threads. {cpu[0]}, {cpu[1]} cores, "
      f"{everything[0]['instructions']}; large products at {median(r['square_product_gflops'] for r in everything):.0f} GFLOP/s. "
      f"PyTorch {torch.__version__} of Debian. {datetime.date.today()}. Again: `{command.strip()}`")
EOF
