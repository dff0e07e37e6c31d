#!/usr/bin/env bash
# Compiles and links everything for aarch64 with Debian's cross compiler; with an emulator
# (qemu-aarch64, of the package qemu-user), runs the double core tests there, but for those that are
# about threads, processes and the machine's memory. The last line says "N passed, M failed".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source apps/setup.sh

build=build_aarch64
log=$(mktemp)
trap 'rm -f -- "$log"' EXIT

# Debian's packages for the other architecture lie beside ours.
add_architecture() {
  dpkg --print-foreign-architectures | grep -qx arm64 && return
  local as_root=()
  if ((EUID != 0)); then as_root=(sudo); fi
  "${as_root[@]}" dpkg --add-architecture arm64 || die "cannot add the architecture arm64 to dpkg's"
}

# cross_file: how Meson is told of the compiler, the packages and the emulator.
cross_file() {
  cat <<FILE
[binaries]
cpp = ['aarch64-linux-gnu-g++']
ar = 'aarch64-linux-gnu-ar'
strip = 'aarch64-linux-gnu-strip'
pkgconfig = 'pkg-config'
${emulator:+exe_wrapper = '$emulator'}
[properties]
pkg_config_libdir = ['/usr/lib/aarch64-linux-gnu/pkgconfig', '/usr/share/pkgconfig']
[host_machine]
system = 'linux'
cpu_family = 'aarch64'
cpu = 'aarch64'
endian = 'little'
FILE
}

install_build_tools
add_architecture
install qemu-user || true
emulator=$(command -v qemu-aarch64 || true)
need g++-aarch64-linux-gnu libopenblas-dev:arm64 zlib1g-dev:arm64 libpng-dev:arm64 libgtest-dev:arm64 \
  libstdc++6:arm64
mkdir -p "$build"
cross_file >"$build/aarch64.ini"
configure "$build" --cross-file "$build/aarch64.ini" -Dnative=false --werror
say "building for aarch64, all of it"
ninja -C "$build" --quiet all tests_f64
if [[ -z $emulator ]]; then
  echo "everything is built; there is no emulator to run tests"
  exit
fi

# Those apart that are about threads, forks, the limits of memory, and time.
# Without ConvLU's of NaN too: there OpenBLAS's search for a pivot takes a column with NaN for zeros.
unfit=Blas.*:*Thread*:ConvLU.NaN*:Pool.*:Fork.*:Lifetime.*:Sizes.*:Buffer.*:BackwardChain.*:*Memory*:*Profiler*:Soak*
say "the double core tests, emulated"
status=0
OPENBLAS_NUM_THREADS=1 timeout 1800 "$emulator" "$build/tests/core_tests_f64" --gtest_color=no \
  --gtest_filter="-$unfit" >"$log" 2>&1 || status=$?
passed=$(grep -c '^\[       OK \]' "$log" || true)
failed=$(grep -cE '^\[  FAILED  \] .* \([0-9]+ ms\)$' "$log" || true)
if ((status != 0)); then
  grep -vE '^\[( RUN      |       OK |----------)|^$' "$log" || true
  if ((failed == 0)); then failed=1; fi  # it crashed, or took too long
fi
echo "$passed passed, $failed failed"
((failed == 0))
