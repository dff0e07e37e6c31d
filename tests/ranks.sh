#!/usr/bin/env bash
# Compares the checkpoints of 1, 2 and 4 ranks on 1, 2 and 3 threads each, for a convolutional model, a
# fully-connected one and GECO; then kills ranks at random, and goes on each time with another number of
# them. Takes some minutes; .ci/run does it with --full.
#
#   tests/ranks.sh [SNF [KILLS]]      the program, build/apps/snf, and how often: 20
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source apps/setup.sh

snf=$(realpath "${1:-build/apps/snf}")
readonly snf kills=${2:-20}
[[ -x $snf ]] || die "found no $snf, expected the program; build it with: ninja -C build apps/snf"
need openmpi-bin dataset-fashion-mnist

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
cd "$work"

on_ranks() {  # RANKS ARGUMENTS...
  local ranks=$1
  shift
  mpirun --allow-run-as-root --oversubscribe -n "$ranks" "$snf" "$@"
}
bits() { sha256sum <"$1/checkpoints/last.safetensors" | cut -c 1-16; }
readonly data='--dataset fashion_mnist --batch-size 20 --limit-batches 20 --quiet --set shards=4'

for model in selfnorm_cnn_mnist selfnorm_fc_mnist geco_selfnorm_glow_mnist; do
  "$snf" train $model $data --epochs 1 --threads 1 --out alone
  for ranks in 1 2 4; do
    for threads in 1 2 3; do
      on_ranks $ranks train $model $data --epochs 1 --threads $threads --out together
      [[ $(bits together) == "$(bits alone)" ]] || die "$model: other bits on $ranks ranks, $threads threads"
      rm -rf together
    done
  done
  say "$model: $(bits alone) on 1, 2 and 4 ranks with 1, 2 and 3 threads each"
  rm -rf alone
done

readonly long="train selfnorm_cnn_mnist $data,num_blocks=2,block_size=1 --epochs $((kills + 2))"
"$snf" $long --out alone
resume='' hits=0
at_work() { pgrep -f "^$snf $long --out killed" || true; }
for ((kill = 1; kill <= kills; ++kill)); do
  ranks=$((2 << RANDOM % 2))
  on_ranks $ranks $long --out killed --save-every 0.001 $resume 2>complaints &
  until [[ $(at_work | wc -l) == "$ranks" && -e killed/checkpoints/last.safetensors ]]; do
    kill -0 $! 2>/dev/null || break
    sleep 0.02
  done
  sleep "0.$((RANDOM % 10))"
  victim=$(at_work | shuf -n 1)
  if [[ $victim ]] && kill -KILL "$victim" 2>/dev/null; then hits=$((hits + 1)); fi
  wait $! || true
  [[ -e killed/checkpoints/last.safetensors ]] || die "$(cat complaints)"
  resume=--resume
done
"$snf" train selfnorm_cnn_mnist --out killed --resume --quiet
[[ $(bits killed) == "$(bits alone)" ]] || die "other bits after $kills kills"
say "$hits kills of random ranks, of 2 or 4, each resumed: the same bits"
