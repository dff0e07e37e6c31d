#!/usr/bin/env bash
# Races us against PyTorch in turns on the same threads: training steps of snf against those of
# apps/bench/peer_torch.py, plain and tuned, or single ops against apps/bench/peer_ops.py. Installs
# what is missing, builds, and writes a table in markdown.
set -euo pipefail
readonly here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=apps/setup.sh
source apps/setup.sh

readonly snf=build/apps/snf op_times=build/apps/bench/op_times debians=/usr/bin/python3
readonly peer=apps/bench/peer_torch.py peer_ops=apps/bench/peer_ops.py tables=apps/bench/compare_tables.py
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
pairs=3 experiments=("${all[@]}") out='' python=$debians rows='' what=steps

usage() {
  cat <<USAGE
Usage: apps/bench/compare.sh [OPTION]...
       apps/bench/compare.sh ops [OPTION]...
Times training steps of snf, or single ops, and those of PyTorch in turns, and prints a table.

  --python PATH        a Python that has PyTorch, of 1.13 or later (default: Debian's, which is installed)
  --threads N          threads of both (default: $threads)
  --pairs N            how often each experiment or op is timed by all (default: $pairs; $slow: at most $most_pairs_of_slow)
  --experiments A,B    default: $(IFS=, && echo "${all[*]}")
  --rows TEXT          of the ops, those with this in their names (default: all)
  --out FILE           where the table goes, too (default: build/compare.md or build/compare_ops.md)
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
if [[ ${1-} == ops ]]; then
  what=ops
  shift
fi
while (($#)); do
  case $1 in
    --help) usage && exit ;;
    --python | --threads | --pairs | --experiments | --rows | --out) (($# > 1)) || die "compare: [$1] expected a value" ;;
    *) die "compare: there is no '$1'; see apps/bench/compare.sh --help" ;;
  esac
  case $1 in
    --python) [[ $2 == */* && $2 != /* ]] && python=$here/$2 || python=$2 ;;
    --rows) rows=$2 ;;
    --threads) positive "$1" "$2" && threads=$2 ;;
    --pairs) positive "$1" "$2" && pairs=$2 ;;
    --experiments) IFS=, read -ra experiments <<<"$2" ;;
    --out) [[ -n $2 ]] || die "compare: [--out] expected a file, got ''"
      [[ $2 == /* ]] && out=$2 || out=$here/$2 ;;
  esac
  shift 2
done
((${#experiments[@]})) || die "compare: [--experiments] expected names, got none"
for name in "${experiments[@]}"; do
  [[ " ${all[*]} " == *" $name "* ]] || die "compare: [--experiments] there is no '$name'; known: ${all[*]}"
done
if [[ -z $out ]]; then
  if [[ $what == ops ]]; then out=build/compare_ops.md; else out=build/compare.md; fi
fi
[[ $what == ops || -z $rows ]] || die "compare: [--rows] is for 'compare.sh ops'"
[[ ! -d $out ]] || die "compare: [--out] expected a file, got '$out'"
mkdir -p "$(dirname "$out")" 2>/dev/null || die "compare: [--out] cannot make '$(dirname "$out")'"
[[ -w $(dirname "$out") ]] || die "compare: [--out] cannot write into '$(dirname "$out")'"

install_build_tools
if [[ $python == "$debians" ]]; then install python3-torch libopenblas0-openmp; fi
command -v "$python" >/dev/null || die "compare: [--python] there is no program '$python'"
"$python" -c 'import torch' 2>/dev/null || die "compare: [--python] '$python' has no PyTorch: it cannot import torch"
if [[ ! -f build/build.ninja ]]; then configure build; fi
say "building $snf and $op_times"
ninja -C build --quiet apps/snf apps/bench/op_times

# Debian's PyTorch, when tuned, has another build of OpenBLAS, which shares its threads: those of the
# usual one would disturb them. Others bring their own.
tuned_environment=(env)
if [[ $python == "$debians" ]]; then
  openblas=$(dirname "$(dpkg-query --listfiles libopenblas0-openmp | grep '/libopenblas\.so\.0$')")
  tuned_environment+=(LD_LIBRARY_PATH="$openblas")
fi

# our_kernels COMMAND...: those that OpenBLAS takes for snf when it is run by the command.
our_kernels() {
  "$@" "$debians" -c 'import ctypes
openblas = ctypes.CDLL("libopenblas.so.0")
openblas.openblas_get_corename.restype = ctypes.c_char_p
print(openblas.openblas_get_corename().decode())'
}
kernels=$(our_kernels env) free_kernels=$(our_kernels env -u OPENBLAS_CORETYPE)
readonly kernels free_kernels
held=''
if [[ $kernels != "$free_kernels" ]]; then
  held="OPENBLAS_CORETYPE=${OPENBLAS_CORETYPE-} holds our OpenBLAS to its $kernels kernels; by itself it takes $free_kernels"
  say "warning: $held"
fi

# oneDNN asks the processor, not OPENBLAS_CORETYPE: it would race AVX-512 against older kernels.
case $kernels in
  Haswell | Zen | Excavator) onednn=AVX2 ;;
  Sandybridge | Bulldozer | Piledriver | Steamroller) onednn=AVX ;;
  *) onednn='' ;;
esac
held_onednn=''
if [[ -n $onednn && -z ${ONEDNN_MAX_CPU_ISA+set} ]]; then
  export ONEDNN_MAX_CPU_ISA=$onednn
  held_onednn="their oneDNN is held to $onednn, as our $kernels kernels are (ONEDNN_MAX_CPU_ISA, unless you set it)"
fi

about=$("${tuned_environment[@]}" "$python" "$peer" --about) || die "compare: $peer --about failed"
readonly about

# has FEATURE: whether this PyTorch does.
has() { [[ $about == *"\"$1\": true"* ]]; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# race EXPERIMENT: one round of all.
race() {
  local name=$1 ours theirs tuned
  ours=("$snf" bench "$name" --steps "${steps[$name]}" --json)
  theirs=("$python" "$peer" "$name" --steps "${their_steps[$name]}" --threads "$threads" --json)
  tuned=("${tuned_environment[@]}" "${theirs[@]}" --tuned)
  timed "$scratch/$name.snf" "${ours[@]}" --threads "$threads"
  timed "$scratch/$name.plain" "${theirs[@]}"
  timed "$scratch/$name.one" "${ours[@]}" --threads 1
  timed "$scratch/$name.tuned" "${tuned[@]}"
  if has fused; then
    tuned+=(--fused)
    timed "$scratch/$name.fused" "${tuned[@]}"
  fi
  if has compile; then timed "$scratch/$name.compiled" "${tuned[@]}" --compile; fi
}

if [[ $what == ops ]]; then
  for ((pair = 1; pair <= pairs; ++pair)); do
    say "single ops, round $pair of $pairs: ours, PyTorch's"
    timed "$scratch/ops.snf" "$op_times" "$threads" "$rows"
    timed "$scratch/ops.tuned" "${tuned_environment[@]}" "$python" "$peer_ops" --threads "$threads" --rows "$rows"
  done
  table=(ops "$scratch")
else
  for name in "${experiments[@]}"; do
    n=$pairs
    if [[ $name == "$slow" ]] && ((n > most_pairs_of_slow)); then n=$most_pairs_of_slow; fi
    for ((pair = 1; pair <= n; ++pair)); do
      say "$name, round $pair of $n: snf and PyTorch"
      race "$name"
    done
  done
  table=(steps "$scratch" "$threads" "${experiments[@]}")
fi

say "the table, also in $out"
"$debians" "$tables" "${table[@]}" >"$scratch/table.md"
{
  cat "$scratch/table.md"
  echo
  echo "Medians of the rounds; beside a ratio, its least and its most."
  if [[ $what == steps ]]; then
    echo "Batches of 100. The floor is the products of a step at snf's own rate and one pass of Adam."
    echo "Samples: learned inverse."
  fi
  echo
  echo "* machine: $(lscpu | sed -n 's/^Model name: *//p'), $(nproc) cores; threads: $threads"
  echo "* ours: OpenBLAS with its $kernels kernels"
  echo "* theirs: $("$debians" -c 'import json, sys
about = json.loads(sys.argv[1])
print("torch {torch}; {libraries}".format(**about))' "$about")"
  if [[ -n $held ]]; then echo "* $held"; fi
  if [[ -n $held_onednn ]]; then echo "* $held_onednn" && unset ONEDNN_MAX_CPU_ISA; fi
  env | sed -n 's/^\(O\(PENBLAS\|NEDNN\)_[A-Z0-9_]*=.*\)/* set in the environment: \1/p'
  echo "* date: $(date --utc '+%Y-%m-%d %H:%M UTC'), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
  echo "* to repeat it: apps/bench/compare.sh ${arguments[*]}"
} | tee "$scratch/compare.md"
mv -- "$scratch/compare.md" "$out"
