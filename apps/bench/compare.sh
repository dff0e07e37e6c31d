#!/usr/bin/env bash
# Races snf against PyTorch, apps/bench/peer_torch.py, plain and tuned: installs what is missing,
# builds, times all in turns on the same threads, and writes a table in markdown.
set -euo pipefail
readonly here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=apps/setup.sh
source apps/setup.sh

readonly snf=build/apps/snf peer=apps/bench/peer_torch.py python=/usr/bin/python3
readonly all=(selfnorm_fc_mnist exact_fc_mnist selfnorm_cnn_mnist exact_cnn_mnist
  emerging_cnn_mnist exponential_cnn_mnist geco_selfnorm_glow_mnist selfnorm_glow_mnist)
# Timed steps of each run of ours and of PyTorch's: all of it takes 8 minutes on two cores.
declare -rA steps=([selfnorm_fc_mnist]=51 [exact_fc_mnist]=31 [selfnorm_cnn_mnist]=41
  [exact_cnn_mnist]=31 [emerging_cnn_mnist]=41 [exponential_cnn_mnist]=31
  [geco_selfnorm_glow_mnist]=41 [selfnorm_glow_mnist]=2)
declare -rA their_steps=([selfnorm_fc_mnist]=21 [exact_fc_mnist]=15 [selfnorm_cnn_mnist]=15
  [exact_cnn_mnist]=5 [emerging_cnn_mnist]=11 [exponential_cnn_mnist]=11
  [geco_selfnorm_glow_mnist]=21 [selfnorm_glow_mnist]=1)
readonly slow=selfnorm_glow_mnist most_pairs_of_slow=1

threads=$(nproc)
((threads <= 2)) || threads=2
pairs=3 experiments=("${all[@]}") out=build/compare.md

usage() {
  cat <<USAGE
Usage: apps/bench/compare.sh [OPTION]...
Times training steps of snf and of PyTorch in turns, and prints a table.

  --threads N          threads of both (default: $threads)
  --pairs N            how often each experiment is timed by all (default: $pairs; $slow: at most $most_pairs_of_slow)
  --experiments A,B    default: $(IFS=, && echo "${all[*]}")
  --out FILE           where the table goes, too (default: $out)
  --help               this text
USAGE
}

# positive OPTION VALUE
positive() { [[ $2 =~ ^[1-9][0-9]{0,3}$ ]] || die "compare: [$1] expected a number from 1 to 9999, got '$2'"; }

# timed FILE COMMAND...: adds what the command prints to the file.
timed() {
  local file=$1
  shift
  "$@" >>"$file" || die "compare: this failed: $*"
}

readonly arguments=("$@")
while (($#)); do
  case $1 in
    --help) usage && exit ;;
    --threads | --pairs | --experiments | --out) (($# > 1)) || die "compare: [$1] expected a value" ;;
    *) die "compare: there is no '$1'; see apps/bench/compare.sh --help" ;;
  esac
  case $1 in
    --threads) positive "$1" "$2" && threads=$2 ;;
    --pairs) positive "$1" "$2" && pairs=$2 ;;
    --experiments) IFS=, read -ra experiments <<<"$2" ;;
    --out) [[ -z $2 || $2 == /* ]] && out=$2 || out=$here/$2 ;;
  esac
  shift 2
done
((${#experiments[@]})) || die "compare: [--experiments] expected names, got none"
for name in "${experiments[@]}"; do
  [[ " ${all[*]} " == *" $name "* ]] || die "compare: [--experiments] there is no '$name'; known: ${all[*]}"
done
[[ -n $out && ! -d $out ]] || die "compare: [--out] expected a file, got '$out'"
mkdir -p "$(dirname "$out")" 2>/dev/null || die "compare: [--out] cannot make '$(dirname "$out")'"
[[ -w $(dirname "$out") ]] || die "compare: [--out] cannot write into '$(dirname "$out")'"

install_build_tools
install python3-torch libopenblas0-openmp
if [[ ! -f build/build.ninja ]]; then configure build; fi
say "building $snf"
ninja -C build --quiet apps/snf

# For the tuned peer alone: it shares PyTorch's threads, which those of the default build would disturb.
openblas=$(dirname "$(dpkg-query --listfiles libopenblas0-openmp | grep '/libopenblas\.so\.0$')")
readonly openblas
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for name in "${experiments[@]}"; do
  n=$pairs
  if [[ $name == "$slow" ]] && ((n > most_pairs_of_slow)); then n=$most_pairs_of_slow; fi
  for ((pair = 1; pair <= n; ++pair)); do
    ours=("$snf" bench "$name" --steps "${steps[$name]}" --json)
    theirs=("$python" "$peer" "$name" --steps "${their_steps[$name]}" --threads "$threads" --json)
    say "$name, round $pair of $n: snf, PyTorch, snf on one thread, tuned PyTorch"
    timed "$scratch/$name.snf" "${ours[@]}" --threads "$threads"
    timed "$scratch/$name.plain" "${theirs[@]}"
    timed "$scratch/$name.one" "${ours[@]}" --threads 1
    timed "$scratch/$name.tuned" env LD_LIBRARY_PATH="$openblas" "${theirs[@]}" --tuned
  done
done

say "the table, also in $out"
"$python" - "$scratch" "$threads" "${experiments[@]}" >"$scratch/table.md" <<'PYTHON'
import json, pathlib, statistics, sys

def runs(path):
    text, decoder, found = path.read_text().strip(), json.JSONDecoder(), []
    while text:
        run, end = decoder.raw_decode(text)
        found.append(run)
        text = text[end:].lstrip()
    return found

def learned_100(run):
    return [s["ms"] for s in run["sampling"] if s["inverse"] == "learned" and s["samples"] == 100]

def ratio(over, under):
    each = [a / b for a, b in zip(over, under)]
    spread = f" ({min(each):.1f} to {max(each):.1f})" if len(each) > 1 else ""
    return f"{statistics.median(each):.1f}{spread}"

def times(kind):
    return [run["ms_per_step"]["median"] for run in kind]

def ms(values):
    return f"{statistics.median(values):.1f}"

directory, threads = sys.argv[1:3]
print(f"| experiment | snf, ms a step | over its floor | 1 thread over {threads} | PyTorch, ms | PyTorch over snf "
      "| tuned PyTorch over snf | ms for 100 samples: snf, PyTorch, tuned |")
print("|---|" + "---:|" * 7)
for name in sys.argv[3:]:
    ours, one, plain, tuned = (runs(pathlib.Path(directory, f"{name}.{kind}")) for kind in ("snf", "one", "plain", "tuned"))
    step = times(ours)
    floor = statistics.median(a / run["floor_ms"] for a, run in zip(step, ours))
    threaded = statistics.median(a / b for a, b in zip(times(one), step))
    cells = [f"`{name}`", ms(step), f"{floor:.2f}", f"{threaded:.2f}", ms(times(plain)),
             ratio(times(plain), step), ratio(times(tuned), step)]
    drawn = [time for run in ours for time in learned_100(run)]
    cells.append(", ".join([ms(drawn)] + [ms([run["sampling_100_ms"] for run in kind]) for kind in (plain, tuned)]) if drawn else "")
    print("| " + " | ".join(cells) + " |")
print(f"\nLarge products: {statistics.median(run['square_product_gflops'] for run in ours):.0f} GFLOP/s.")
PYTHON
{
  cat "$scratch/table.md"
  echo
  echo "Medians of the rounds; beside a ratio, its least and its most. Batches of 100. The floor is the"
  echo "products of a step at snf's own rate and one pass of Adam. Samples: learned inverse."
  echo
  echo "* machine: $(lscpu | sed -n 's/^Model name: *//p'), $(nproc) cores; threads: $threads"
  env LD_LIBRARY_PATH="$openblas" "$python" - <<'PYTHON'
import ctypes, torch

openblas = ctypes.CDLL("libopenblas.so.0")
openblas.openblas_get_config.restype = openblas.openblas_get_corename.restype = ctypes.c_char_p
version, kernels = openblas.openblas_get_config().split()[1], openblas.openblas_get_corename()
print(f"* torch {torch.__version__}; OpenBLAS {version.decode()} with its {kernels.decode()} kernels, in both")
PYTHON
  env | sed -n 's/^\(OPENBLAS_[A-Z0-9_]*=.*\)/* set in the environment: \1/p'
  echo "* date: $(date --utc '+%Y-%m-%d %H:%M UTC'), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
  echo "* to repeat it: apps/bench/compare.sh ${arguments[*]}"
} | tee "$scratch/compare.md"
mv -- "$scratch/compare.md" "$out"
