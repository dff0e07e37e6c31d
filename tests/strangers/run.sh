#!/usr/bin/env bash
# Builds what strangers to this project would: a project that has it as a subproject, with clang++ in
# double; then, with a portable package installed in build_portable/root, projects that find it by
# pkg-config, CMake and Meson. Each of their programs must print what it is known to print, with the
# library for the baseline of x86-64, compiled in the least time. They work in a temporary directory,
# from copies. With --all-levels the subproject is built with g++ in float as well, and the package
# has each variant of the library that this processor can run, compiled as for a release.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source apps/setup.sh

levels='' optimization=0
if [[ ${1-} == --all-levels && $# == 1 ]]; then
  levels=x86-64-v2,x86-64-v3,x86-64-v4 optimization=3
elif (($#)); then
  die "found the arguments \"$*\", expected none or --all-levels"
fi
source_root=$PWD build=$PWD/build_portable
root=$build/root
temporary=$(mktemp -d)
trap 'rm -rf -- "$temporary"' EXIT
warnings=(-Wall -Wextra -Wpedantic -Wshadow -Wsign-conversion -Werror)

# expect WHO EXPECTED FOUND
expect() {
  [[ $3 == "$2" ]] || die "$1: found \"$3\", expected \"$2\""
  say "$1: $3"
}

# quietly COMMAND...: what it says is shown if it fails.
quietly() {
  "$@" >"$temporary/log" 2>&1 || { cat "$temporary/log"; die "failed: $*"; }
}

# copy PROJECT [NAME]: makes a copy the current directory.
copy() {
  cp -r "$source_root/tests/strangers/$1" "$temporary/${2-$1}"
  cd "$temporary/${2-$1}"
}

# subproject CXX PRECISION EXPECTED: it is given what the library needs, and builds what it asks for.
subproject() {
  local precision=$2 other=backflow
  if [[ $precision == backflow ]]; then other=backflow_f64; fi
  copy subproject "subproject_$1"
  mkdir -p subprojects/backflow
  cp -r "$source_root"/{engine,ops,flows,meson.build,meson_options.txt} subprojects/backflow
  # The least time to compile; the tests have the optimized library.
  CXX=$1 quietly meson setup build -Doptimization=0 -Ddebug=false -Dprecision="$precision"
  quietly ninja -C build
  [[ -z $(find build -name "lib$other.a" -o -name '*.so*') ]] ||
    die "a subproject builds more than it is asked for"
  expect "a subproject, $1, $precision" "$3" "$(build/mine)"
}

install_package() {
  configure "$build" -Doptimization="$optimization" -Dnative=false -Dlevels="$levels" \
    -Dtests=disabled --prefix="$root" --libdir=lib
  say "building the portable package"
  ninja -C "$build" --quiet
  rm -rf -- "$root"
  quietly meson install -C "$build" --no-rebuild
  export PKG_CONFIG_PATH=$root/lib/pkgconfig
}

# Every header that is installed, for who cares for warnings; and none is missing.
headers() {
  (cd "$root/include" && find backflow -name '*.h' | sed 's/.*/#include "&"/') >"$temporary/all.cpp"
  quietly g++ -std=c++20 "${warnings[@]}" -fsyntax-only $(pkg-config --cflags backflow) "$temporary/all.cpp"
  quietly g++ -std=c++20 "${warnings[@]}" -fsyntax-only $(pkg-config --cflags backflow_f64) "$temporary/all.cpp"
}

# Beside a folder engine/ with a tensor.h of its own.
by_pkg_config() {
  copy pkg_config
  quietly g++ -std=c++20 "${warnings[@]}" -I. mine.cpp -o mine $(pkg-config --cflags --libs backflow)
  expect "pkg-config, shared, float" "rounded 0 2 2, gradient 0 4 4" \
    "$(LD_LIBRARY_PATH=$root/lib ./mine)"
}

# The program of the README, compiled as the README says, prints what stands there below it; and the
# lines for CMake are those of the project for CMake.
by_the_readme() {
  local readme=$source_root/README.md command line
  mkdir -p "$temporary/readme"
  cd "$temporary/readme"
  awk '/^<!-- example: first -->$/ {found = 1; next}
       found && /^```/ {if (inside) exit; inside = 1; next} inside' "$readme" >mine.cpp
  command=$(sed -n 's/^    \(g++ .*mine\.cpp.*\)/\1/p' "$readme")
  [[ -n $command ]] || die "found no line of the README with g++ and mine.cpp, expected one"
  quietly eval "$command"
  expect "the README's program" \
    "$(awk '/^<!-- example: first -->$/ {found = 1} found && /^    [^ ]/ && closed {print substr($0, 5); shown = 1; next}
            shown {exit} found && /^```$/ {closed = 1}' "$readme")" \
    "$(LD_LIBRARY_PATH=$root/lib ./a.out)"
  awk '/^```cmake$/ {inside = 1; next} /^```/ {inside = 0} inside' "$readme" >lines
  [[ $(wc -l <lines) == 3 ]] || die "found $(wc -l <lines) lines for CMake in the README, expected 3"
  while read -r line; do
    grep -qxF "$line" "$source_root/tests/strangers/cmake/CMakeLists.txt" ||
      die "tests/strangers/cmake/CMakeLists.txt has no line '$line', which the README has"
  done <lines
}

by_static_library() {
  copy static
  quietly g++ -std=c++20 "${warnings[@]}" mine.cpp -o mine -static \
    $(pkg-config --static --cflags --libs backflow_f64)
  expect "pkg-config, static, double" \
    "1.945910, gradient 0.571429 -0.142857 -0.142857 0.285714, which agrees with differences" "$(./mine)"
}

by_cmake() {
  copy cmake
  quietly cmake -S . -B build -DCMAKE_BUILD_TYPE=Release
  quietly cmake --build build
  expect "CMake" "a = 2.0000, b = 1.0000" "$(build/mine)"
}

both_precisions() {
  copy two_precisions
  for name in backflow backflow_f64; do
    quietly g++ -std=c++20 "${warnings[@]}" -fPIC -shared third.cpp -o "libthird_$name.so" \
      $(pkg-config --cflags --libs "$name")
  done
  quietly g++ -std=c++20 mine.cpp -o mine -L. -lthird_backflow -lthird_backflow_f64 \
    -Wl,-rpath-link,"$root/lib"
  expect "both precisions in one process" "0.3333333433 0.3333333333333333" \
    "$(LD_LIBRARY_PATH=.:$root/lib ./mine)"
}

# A dependency of a Meson project; and the loader picks a variant of the library, for snf as well.
by_meson_and_by_level() {
  local loader=/lib64/ld-linux-x86-64.so.2 level version
  local -A instructions=([none]=SSE2 [x86-64-v2]=SSE4.2 [x86-64-v3]=AVX2 [x86-64-v4]=AVX-512)
  copy meson
  quietly meson setup build
  quietly ninja -C build
  version=$(pkg-config --modversion backflow)
  if [[ ! -x $loader ]]; then
    expect "Meson" "-2770.5 nats, gradient 12.78" "$(build/mine | sed 's/, [^,]*$//')"
    return
  fi
  for level in none ${levels//,/ }; do
    if [[ $level != none ]] && ! "$loader" --help | grep -q "$level (supported"; then
      say "Meson, $level: this processor has it not"
      continue
    fi
    expect "Meson, $level" "-2770.5 nats, gradient 12.78, ${instructions[$level]}" \
      "$("$loader" --glibc-hwcaps-mask "$level" build/mine)"
    expect "snf, $level" "snf $version, float, built for ${instructions[$level]}" \
      "$("$loader" --glibc-hwcaps-mask "$level" "$root/bin/snf" --version)"
  done
}

# The models that come with snf are found in its prefix, and where that is moved to.
by_pretrained_models() {
  cd "$temporary"
  cp -r "$root" moved
  for program in "$root/bin/snf" moved/bin/snf; do
    expect "a pretrained model" "one.png: 1 samples by the learned inverse, temperature 1" \
      "$("$program" sample selfnorm_cnn_mnist --pretrained --count 1 --plain --out one.png | head -n 1)"
  done
}

install_build_tools
need clang cmake make
known='1.35730, gradient 0.36788 0.00000 -0.14936'
if [[ -n $levels ]]; then (subproject g++ backflow "4 bytes: $known"); fi
(subproject clang++ backflow_f64 "8 bytes: $known")
install_package
headers
(by_pkg_config)
(by_the_readme)
(by_static_library)
(by_cmake)
(both_precisions)
(by_meson_and_by_level)
(by_pretrained_models)
echo "all strangers are served"
