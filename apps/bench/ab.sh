#!/usr/bin/env bash
# Compares the working tree (NEW) with a commit (OLD): the time of training steps, measured in turns
# and beside how much OLD differs from itself, and the tensors after 20 training steps, bit by bit.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=apps/setup.sh
source apps/setup.sh

readonly python=/usr/bin/python3 small=small_tensors most=1.02
readonly all=(relative_gradient_fc_mnist exact_fc_mnist selfnorm_fc_mnist emerging_cnn_mnist
  selfnorm_cnn_mnist exponential_cnn_mnist exact_cnn_mnist conv1x1_glow_mnist selfnorm_glow_mnist
  geco_selfnorm_glow_mnist conv1x1_glow_cifar selfnorm_glow_cifar conv1x1_glow_imagenet
  selfnorm_glow_imagenet)
experiments=(selfnorm_fc_mnist exact_fc_mnist selfnorm_cnn_mnist exact_cnn_mnist
  emerging_cnn_mnist exponential_cnn_mnist geco_selfnorm_glow_mnist "$small")
# Timed steps: some hundred milliseconds of each, so that all of it takes less than 10 minutes.
declare -rA usual_steps=([selfnorm_fc_mnist]=15 [exact_fc_mnist]=9 [relative_gradient_fc_mnist]=15
  [selfnorm_cnn_mnist]=13 [emerging_cnn_mnist]=13 ["$small"]=2000)
readonly other_steps=7

threads=$(nproc)
((threads <= 2)) || threads=2
old='' pairs=7 steps='' keep=0

usage() {
  cat <<USAGE
Usage: apps/bench/ab.sh OLD_COMMIT [OPTION]...
Builds OLD_COMMIT and the working tree in build/ab, times training steps of both in turns, and
compares the tensors of every experiment after 20 training steps. Exit code 1, with a line for each,
when tensors differ or a median ratio is above $most and outside of what OLD against OLD shows.

  --experiments A,B    those that are timed, "" for none; '$small' is apps/bench/$small.cpp
                       (default: $(IFS=, && echo "${experiments[*]}")
  --pairs N            how often each is timed (default: $pairs)
  --steps N            timed steps of each run (default: some hundred milliseconds of them)
  --threads N          of both (default: $threads)
  --keep               leave build/ab, and take what is built there next time
  --help               this text
USAGE
}

# positive OPTION VALUE
positive() { [[ $2 =~ ^[1-9][0-9]{0,4}$ ]] || die "ab: [$1] expected a number from 1 to 99999, got '$2'"; }

while (($#)); do
  case $1 in
    --help) usage && exit ;;
    --keep) keep=1 && shift && continue ;;
    --experiments | --pairs | --steps | --threads) (($# > 1)) || die "ab: [$1] expected a value" ;;
    -*) die "ab: there is no '$1'; see apps/bench/ab.sh --help" ;;
    *)
      [[ -z $old ]] || die "ab: [OLD_COMMIT] expected one commit, got '$old' and '$1'"
      old=$1 && shift && continue
      ;;
  esac
  case $1 in
    --experiments) IFS=, read -ra experiments <<<"$2" ;;
    --pairs) positive "$1" "$2" && pairs=$2 ;;
    --steps) positive "$1" "$2" && steps=$2 ;;
    --threads) positive "$1" "$2" && threads=$2 ;;
  esac
  shift 2
done
[[ -n $old ]] || die "ab: [OLD_COMMIT] expected a commit to compare with; see apps/bench/ab.sh --help"
for name in "${experiments[@]}"; do
  [[ " ${all[*]} $small " == *" $name "* ]] || die "ab: [--experiments] there is no '$name'; known: ${all[*]} $small"
done
commit=$(git rev-parse --verify --quiet --end-of-options "$old^{commit}") || die "ab: [OLD_COMMIT] git knows no commit '$old'"
readonly commit ab=$PWD/build/ab

# run COMMAND...: its output only if it fails.
run() { "$@" >"$ab/log" 2>&1 || { cat "$ab/log" >&2 && die "ab: this failed: $*"; }; }

# ---- both programs: $ab/SIDE/apps/snf and $ab/SIDE/small_tensors ---------------------------------

check_out_old() {
  if [[ -e $ab/tree ]]; then
    run git -C "$ab/tree" checkout --quiet --force --detach "$commit"
  else
    git worktree prune
    run git worktree add --detach "$ab/tree" "$commit"
  fi
}
# The benchmark of small tensors is this tree's in both, compiled against the library of each.
build_side() {
  local side=$1 tree=$2 flags
  say "building $side"
  [[ -f $ab/$side/build.ninja ]] ||
    run meson setup "$ab/$side" "$tree" --buildtype=release -Dapps=enabled -Dtests=disabled
  run ninja -C "$ab/$side" apps/snf
  read -ra flags <<<"$(pkg-config --cflags --libs openblas)"
  # A tree of before its headers were named "backflow/...", and one of after.
  flags+=(-I"$ab/$side/include" -I"$tree")
  mkdir -p "$ab/$side/include" && ln -sfn "$(realpath "$tree")" "$ab/$side/include/backflow"
  run "${CXX:-c++}" -std=c++20 -O3 -march=native -fno-math-errno -fno-trapping-math \
    apps/bench/$small.cpp "$ab/$side/libbackflow.a" "${flags[@]}" -pthread -o "$ab/$side/$small"
}

# ---- time ----------------------------------------------------------------------------------------

# timed SIDE EXPERIMENT FILE: adds the milliseconds of a step to the file.
timed() {
  local side=$1 name=$2 file=$3 n=${steps:-${usual_steps[$2]:-$other_steps}}
  if [[ $name == "$small" ]]; then
    "$ab/$side/$small" "$n" | cut -d' ' -f1 >>"$file" || die "ab: $side's $small failed"
  else
    "$ab/$side/apps/snf" bench "$name" --steps "$n" --threads "$threads" --json >"$ab/bench.json" ||
      die "ab: $side's snf bench $name failed"
    "$python" -c 'import json, sys; print(json.load(sys.stdin)["ms_per_step"]["median"])' \
      <"$ab/bench.json" >>"$file"
  fi
}

# Each round times OLD, NEW and OLD once more, beginning with another one each time: what comes
# first or last in a round is nobody's fault.
time_all() {
  local name round i turns=(old new again)
  for name in "${experiments[@]}"; do
    say "timing $name, $pairs rounds"
    for ((round = 0; round < pairs; ++round)); do
      for ((i = 0; i < 3; ++i)); do
        local turn=${turns[(round + i) % 3]}
        local side=$turn
        [[ $turn == again ]] && side=old
        timed "$side" "$name" "$ab/times/$name.$turn"
      done
    done
  done
}

print_ratios() {
  "$python" - "$ab/times" "$most" "$@" <<'PYTHON'
import pathlib, statistics, sys

def times(name, turn):
    return [float(line) for line in pathlib.Path(directory, f"{name}.{turn}").read_text().split()]

def spread(ratios):
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"

directory, most = sys.argv[1], float(sys.argv[2])
slower = []
print(f"{'step':28} {'OLD, ms':>9} {'NEW, ms':>9}   {'NEW over OLD':24} {'OLD over OLD':24} verdict")
for name in sys.argv[3:]:
    old, new, again = (times(name, turn) for turn in ("old", "new", "again"))
    # Beside the mean of both runs of OLD, so that NEW is not compared with its lucky one.
    ratios = [2 * b / (a + c) for a, b, c in zip(old, new, again)]
    itself = [c / a for a, c in zip(old, again)]
    low, median, high = min(*itself, 1), statistics.median(ratios), max(*itself, 1)
    verdict = "within the spread" if low <= median <= high else "slower" if median > high else "faster"
    print(f"{name:28} {statistics.median(old):9.3f} {statistics.median(new):9.3f}   "
          f"{spread(ratios):24} {spread(itself):24} {verdict}")
    if verdict == "slower" and median > most:
        slower.append(f"ab: [{name}] a step takes {median:.3f} times as long, expected at most {most} or within {high:.3f}")
print("\n".join(slower), file=sys.stderr, end="\n" if slower else "")
sys.exit(1 if slower else 0)
PYTHON
}

# ---- tensors -------------------------------------------------------------------------------------

# 600 and 20 images as MNIST's idx files, 500 and 20 as CIFAR-10's binary batches.
write_images() {
  "$python" - "$ab/data" <<'PYTHON'
import pathlib, random, struct, sys

root = pathlib.Path(sys.argv[1])
draw = random.Random(1)
for folder in ("mnist", "cifar10"):
    (root / folder).mkdir()
for name, count in {"train-images-idx3-ubyte": 600, "t10k-images-idx3-ubyte": 20}.items():
    header = struct.pack(">4I", 0x803, count, 28, 28)
    (root / "mnist" / name).write_bytes(header + draw.randbytes(count * 28 * 28))
for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
    count = 20 if name.startswith("test") else 100
    records = (bytes([i % 10]) + draw.randbytes(3 * 32 * 32) for i in range(count))
    (root / "cifar10" / name).write_bytes(b"".join(records))
PYTHON
}

# trained SIDE EXPERIMENT: 20 steps of 20 images, in $ab/runs; without gnuplot, which takes longer.
trained() {
  local side=$1 name=$2 size=(warmup_epochs=0) data=mnist
  [[ $name == *_glow_* ]] && size+=(block_size=2 width=16)
  [[ $name == *_cifar || $name == *_imagenet ]] && data=cifar10
  run env PATH=/nowhere "$ab/$side/apps/snf" train "$name" --out "$ab/runs/$side/$name" --quiet \
    --dataset $data --data "$ab/data/$data" --epochs 1 --batch-size 20 --limit-batches 20 \
    --threads "$threads" --set "$(IFS=, && echo "${size[*]}")"
}

compare_tensors() {
  "$python" - "$ab/runs" "$@" <<'PYTHON'
import array, json, pathlib, sys

# The metadata is left out: newer programs may write more of it.
def tensors(side, name):
    file = pathlib.Path(root, side, name, "checkpoints", "last.safetensors").read_bytes()
    begin = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:begin])
    header.pop("__metadata__", None)
    return {key: (tensor["dtype"], tensor["shape"], file[begin:][slice(*tensor["data_offsets"])])
            for key, tensor in header.items()}

# The largest one beside the tensor's largest number: rounding, or more than that?
def relative_difference(old, new):
    if old is None or new is None or old[:2] != new[:2]:
        return float("inf")
    a, b = (array.array("f" if dtype == "F32" else "d", values) for dtype, _, values in (old, new))
    return max(abs(x - y) for x, y in zip(a, b)) / (max(map(abs, a)) or 1)

root, differences = sys.argv[1], []
for name in sys.argv[2:]:
    old, new = tensors("old", name), tensors("new", name)
    different = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    verdict = "the same bits"
    if different:
        largest = max(relative_difference(old.get(key), new.get(key)) for key in different)
        verdict = f"{len(different)} differ, by {largest:.1e} of the largest number at most"
    print(f"{name:28} {len(old)} tensors, {verdict}")
    if different:
        more = f" and {len(different) - 5} more" if len(different) > 5 else ""
        differences.append(f"ab: [{name}] tensors differ after 20 steps: {', '.join(different[:5])}{more}")
print("\n".join(differences), file=sys.stderr, end="\n" if differences else "")
sys.exit(1 if differences else 0)
PYTHON
}

install_build_tools
mkdir -p "$ab"
rm -rf "$ab"/{times,runs,data}
mkdir "$ab"/{times,runs,data}
((keep)) || trap 'git worktree remove --force "$ab/tree" 2>/dev/null || true; rm -rf "$ab"' EXIT
check_out_old
build_side old "$ab/tree"
build_side new "$PWD"
write_images
say "training every experiment, 20 steps, on both"
for name in "${all[@]}"; do
  for side in old new; do trained $side "$name"; done
done
time_all

bad=0
say "tensors after 20 training steps"
compare_tensors "${all[@]}" || bad=1
if ((${#experiments[@]})); then
  say "ms of a training step on $threads threads: medians of $pairs rounds (least to most)"
  print_ratios "${experiments[@]}" || bad=1
fi
exit $bad
