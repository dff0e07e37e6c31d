#!/usr/bin/env bash
# Sets up what the fuzz harnesses need, builds them with clang++ and runs each of them from its seeds
# (tests/fuzz/seeds) for a while; the last line says "N harnesses, M executions, nothing found".
#   [SECONDS=20]           so long each
# What is found is kept, and said how to see again. Then the last line tells how many, and the exit
# code is 1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source apps/setup.sh

build=build_fuzz findings=build_fuzz/findings seconds=${1-20}
if (($# > 1)) || ! [[ $seconds =~ ^[1-9][0-9]{0,4}$ ]]; then
  die "found the arguments \"$*\", expected at most one: the seconds for each harness, a whole" \
      "number from 1 to 99999"
fi

# A file of a few thousand bytes needs no more memory, time, or depth of recursion than this.
limits=(-malloc_limit_mb=400 -rss_limit_mb=1000 -timeout=10)
stack_kb=1024
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

# run HARNESS ARGUMENT...: within the limits.
run() {
  (ulimit -s "$stack_kb" && exec "$build/tests/fuzz/$1_fuzz" "${limits[@]}" "${@:2}")
}

# executions LOG: how many it tells of.
executions() {
  local count
  count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$1")
  echo "${count:-0}"
}

# explain HARNESS LOG: what was found, with the top of the stack, where the input is kept, and how to
# see it again.
explain() {
  local input finding='==[0-9]+== ?ERROR|: runtime error: |^a broken promise|^terminate called'
  if grep -qE "$finding" "$2"; then
    grep -m 1 -E -A 16 "$finding" "$2" | sed -e ':again; s/<[^<>]*>//g; t again' | cut -c 1-160
  else
    tail -n 20 "$2"
  fi
  input=$(sed -n 's/^.*Test unit written to //p' "$2" | tail -n 1)
  if [[ -z $input ]]; then return; fi
  say "$1: kept as $input; to see it again:" \
    "(ulimit -s $stack_kb; $build/tests/fuzz/$1_fuzz ${limits[*]} $input)"
}

install_build_tools
install clang libclang-rt-dev
export CXX=clang++
configure "$build" -Dfuzz=true
say "building the harnesses"
ninja -C "$build" --quiet fuzz
mkdir -p "$findings"

# In memory, if the system has such a directory: the harnesses write, and wait for the disk.
scratch=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
export TMPDIR=$scratch
trap 'rm -rf -- "$scratch"' EXIT
harnesses=0 total=0 found=0
for source in tests/fuzz/*_fuzz.cpp; do
  harness=$(basename "$source" _fuzz.cpp) status=0
  log=$scratch/$harness.log corpus=$scratch/$harness
  mkdir "$corpus"
  run "$harness" -max_total_time="$seconds" -print_final_stats=1 \
    -artifact_prefix="$findings/$harness-" "$corpus" "tests/fuzz/seeds/$harness" >"$log" 2>&1 ||
    status=$?
  count=$(executions "$log")
  harnesses=$((harnesses + 1)) total=$((total + count))
  if ((status == 0)); then
    say "$harness: $count executions, nothing found"
  else
    explain "$harness" "$log"
    say "$harness: $count executions, and a finding"
    found=$((found + 1))
  fi
done
if ((found)); then
  echo "$harnesses harnesses, $total executions, $found found something"
else
  echo "$harnesses harnesses, $total executions, nothing found"
fi
((found == 0))
