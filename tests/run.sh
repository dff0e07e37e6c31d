#!/usr/bin/env bash
# Sets up what the tests need, builds them and runs them all, in float and in double, but those of
# the programs in float alone, as which they are installed; the last line says "N passed, M failed".
#   --programs f64         those of the programs, compiled in double
#   --filter 'Silu*'       the double core tests that match, and builds no others; GoogleTest's pattern
#   --sanitize [f32]       the double (or float) ones, but for those that run the program, under the
#                          address and undefined-behaviour sanitizers
#   --thread-sanitizer     the double core tests, and a little training, under ThreadSanitizer
#   --compiler clang++     everything in double compiled by it, warnings being errors; the core tests
#   --werror               warnings are errors, in this build from now on
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source apps/setup.sh

build=build precisions=(f32 f64) suites=(core app program) variant='' compiler='' filter='' options=()
arguments="$*"
while (($#)); do
  case $1 in
    --programs)
      [[ ${2-} == f64 ]] || die "found \"${2-}\" after --programs, expected f64"
      precisions=(f64) suites=(program)
      shift ;;
    --filter)
      [[ -n ${2-} ]] || die "found no pattern after --filter, expected names of tests such as 'Silu*'"
      precisions=(f64) suites=(core) filter=$2
      shift ;;
    --sanitize)
      precisions=(f64) suites=(core app) variant=_sanitized
      if [[ ${2-} == f32 ]]; then precisions=(f32) && shift; fi ;;
    --thread-sanitizer) precisions=(f64) suites=(core app) variant=_raced ;;
    --compiler)
      [[ -n ${2-} ]] || die "found no name after --compiler, expected a compiler such as clang++"
      precisions=(f64) suites=(core) compiler=$2 build=build_$(basename "$2")
      options+=(--werror -Doptimization=2)  # a little quicker to build, and as fast
      shift ;;
    --werror) options+=(--werror) ;;
    *) die "found the arguments \"$arguments\", expected --filter 'PATTERN', --sanitize [f32]," \
           "--thread-sanitizer, --compiler NAME, --programs f64 or --werror" ;;
  esac
  shift
done

export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp"
run=() gtest_options=(--gtest_color=no)
if [[ -n $filter && -n $variant ]]; then die "--filter does not go with sanitizers"; fi
if [[ -n $filter ]]; then gtest_options+=(--gtest_filter="$filter"); fi
if [[ $variant == _raced ]]; then
  # ThreadSanitizer does not follow forked children, and has its own idea of memory and time.
  unfit=Lifetime.*:Fork.*:Threads.*:Pool.*:Sizes.*:Buffer.Impossible*:BackwardChain.*
  unfit+=:Profiler.AddsUpToTheWholeTime:Profiler.GivesTheTimeToTheOpThatTookIt
  gtest_options+=(--gtest_filter="-$unfit")
  # Some kernels place programs at random where ThreadSanitizer keeps its shadow memory; and some
  # containers do not let a program choose.
  if setarch -R true 2>/dev/null; then run=(setarch -R); fi
fi

install_build_tools
if [[ $compiler == clang++ ]]; then need clang; fi
if [[ " ${suites[*]} " == *" program "* ]]; then
  need dataset-fashion-mnist  # for the demo's
  install libopenmpi-dev openmpi-bin || say "without MPI: tests of several ranks are left out"
fi
if [[ -n $compiler ]]; then export CXX=$compiler; fi
configure "$build" "${options[@]}"
targets=() goals=()
for precision in "${precisions[@]}"; do
  for suite in "${suites[@]}"; do
    if [[ $suite == program ]]; then
      [[ $precision == f32 || ${#precisions[@]} == 1 ]] || continue
      goals+=("tests_$precision")  # with the programs, which these tests run
    fi
    targets+=("tests/${suite}_tests_$precision$variant")
  done
done
goals+=("${targets[@]}")
if [[ -n $compiler ]]; then goals=(tests_f64); fi  # another compiler is shown every source
say "building ${targets[*]}"
ninja -C "$build" --quiet "${goals[@]}"

passed=0 failed=0
log=$(mktemp)
trap 'rm -f -- "$log" "$log".?' EXIT
for target in "${targets[@]}"; do
  start=$SECONDS
  # Most tests use one thread, or wait for what they have started: so two halves, side by side.
  running=()
  for half in 0 1; do
    GTEST_TOTAL_SHARDS=2 GTEST_SHARD_INDEX=$half \
      "${run[@]}" "$build/$target" "${gtest_options[@]}" >"$log.$half" 2>&1 &
    running+=($!)
  done
  status=0
  for process in "${running[@]}"; do wait "$process" || status=$?; done
  cat "$log".? >"$log"
  rm -f -- "$log".?
  ok=$(grep -c '^\[       OK \]' "$log" || true)
  bad=$(grep -cE '^\[  FAILED  \] .* \([0-9]+ ms\)$' "$log" || true)
  if (($(grep -c '^\[==========\] Running 0 tests' "$log" || true) == 2)); then
    die "no test matches '$filter'; $build/$target --gtest_list_tests names them all"
  fi
  if ((status != 0)); then
    grep -vE '^\[( RUN      |       OK |----------)|^$' "$log" || true
    if ((bad == 0)); then bad=1; fi  # it crashed
  fi
  passed=$((passed + ok)) failed=$((failed + bad))
  say "$target: $ok passed, $bad failed, $((SECONDS - start)) s"
done
echo "$passed passed, $failed failed"
((failed == 0))
