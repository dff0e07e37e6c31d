#!/usr/bin/env bash
# Sets up what the tests need, builds them and runs them all, in float and in double; the last line
# says "N passed, M failed". With --sanitize: the double ones, but for those that run the program,
# under the address and undefined-behaviour sanitizers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source apps/setup.sh

build=build precisions=(f32 f64) suites=(core app program) variant=''
if [[ ${1-} == --sanitize ]]; then
  precisions=(f64) suites=(core app) variant=_sanitized
  export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
elif (($#)); then
  die "found the arguments \"$*\", expected none or --sanitize"
fi

install_build_tools
configure "$build"
targets=()
for precision in "${precisions[@]}"; do
  for suite in "${suites[@]}"; do targets+=("tests/${suite}_tests_$precision$variant"); done
done
goals=("${targets[@]}")
if [[ " ${suites[*]} " == *" program "* ]]; then goals=("${precisions[@]/#/tests_}"); fi  # and snf
say "building ${targets[*]}"
ninja -C "$build" --quiet "${goals[@]}"

passed=0 failed=0
log=$(mktemp)
trap 'rm -f -- "$log"' EXIT
for target in "${targets[@]}"; do
  start=$SECONDS status=0
  "$build/$target" --gtest_color=no >"$log" 2>&1 || status=$?
  ok=$(grep -c '^\[       OK \]' "$log" || true)
  bad=$(grep -cE '^\[  FAILED  \] .* \([0-9]+ ms\)$' "$log" || true)
  if ((status != 0)); then
    grep -vE '^\[( RUN      |       OK |----------)|^$' "$log" || true
    if ((bad == 0)); then bad=1; fi  # it crashed
  fi
  passed=$((passed + ok)) failed=$((failed + bad))
  say "$target: $ok passed, $bad failed, $((SECONDS - start)) s"
done
echo "$passed passed, $failed failed"
((failed == 0))
