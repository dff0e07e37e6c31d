#!/usr/bin/env bash
# Trains every flow of the zoo with its defaults, three seeds on each of two targets, and prints the
# table of apps/zoo/README.md. Runs that are finished are not repeated, others go on where they were.
#
#   apps/zoo/table.sh [DIR]    where the runs are kept: runs/zoo/table
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly runs=${1:-runs/zoo/table} zoo=build/apps/zoo
readonly seeds=(0 1 2)
# What is asked of the KL: on moons / 8 gaussians, and of energies on u1 / u2.
declare -rA asked=([nice]='0.08 / 0.08' [real_nvp]='0.03 / 0.06' [flowpp]='0.03 / 0.05'
  [neural_spline_coupling]='0.03 / 0.03' [neural_spline_autoregressive]='0.03 / 0.03'
  [maf]='0.03 / 0.06' [iaf]='0.05 / 0.10' [naf]='0.03 / 0.03' [sos]='0.03 / 0.03'
  [block_naf]='0.03 / 0.03' [sylvester]='0.03 / 0.03' [i_resnet]='0.05 / 0.05'
  [residual_flow]='0.03 / 0.03')
declare -rA asked_of_energies=([iaf]='0.03 / 0.03' [planar]='0.05 / 0.05' [radial]='0.05 / 0.05'
  [sylvester]='0.03 / 0.03')
readonly flows=(nice real_nvp flowpp neural_spline_coupling neural_spline_autoregressive maf iaf naf
  sos block_naf planar radial sylvester i_resnet residual_flow integer_discrete_flow)

member() {  # FILE NAME: a number of a JSON object
  sed -n "s/.*\"$2\": *\(-\{0,1\}[0-9.e+-]*\).*/\1/p" "$1"
}

train() {  # FLOW TARGET SEED
  local out=$runs/$1-$2-$3
  [[ -e $out/kl ]] && return
  local resume=()
  [[ -e $out ]] && resume=(--resume)
  "$zoo" train "$1" --target "$2" --seed "$3" --threads 2 --out "$out" --quiet "${resume[@]}"
  "$zoo" evaluate "$out" --json > "$out/score.json"
  printf '%.4f\n' "$(member "$out/score.json" kl)" > "$out/kl"
}

kls() {  # FLOW TARGET: "0.0023, 0.0031, 0.0027"
  local all=''
  for seed in "${seeds[@]}"; do
    train "$1" "$2" "$seed"
    all+="${all:+, }$(cat "$runs/$1-$2-$seed/kl")"
  done
  echo "$all"
}

# From the metrics of a run, a row for each piece of it: ms a step in the middle, and all seconds.
timing() {  # FLOW TARGET
  tail -n +2 "$runs/$1-$2-0/metrics.csv" | sort -t, -g -k7 |
    awk -F, '{ms[NR] = $7; s += $8} END {printf "%.2f | %.1f", ms[int((NR + 1) / 2)], s}'
}

echo '| flow | layers x width | steps | ms a step | seconds | moons | 8 gaussians | asked | u1 | u2 | asked |'
echo '|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|'
for flow in "${flows[@]}"; do
  moons=$(kls "$flow" moons) gaussians=$(kls "$flow" 8gaussians)
  u1='' u2='' asked_of_energy=${asked_of_energies[$flow]-}
  if [[ $asked_of_energy ]]; then u1=$(kls "$flow" u1) u2=$(kls "$flow" u2); fi
  config=$runs/$flow-moons-0/config.json
  echo "| \`$flow\` | $(member "$config" layers) x $(member "$config" width) |" \
    "$(member "$config" steps) | $(timing "$flow" moons) | $moons | $gaussians |" \
    "${asked[$flow]-} | $u1 | $u2 | $asked_of_energy |"
done
