#!/usr/bin/env bash
# Checks the public headers, those of engine/, ops/ and flows/ but for the ones that say "Internal to"
# in their first lines. Each compiles alone in a user's build, which knows neither our precompiled
# header nor -march=native, and may have more warnings as errors than ours; means the same for every
# processor; and holds no vector types.
# The variable CXX chooses the compiler, g++ otherwise.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source apps/setup.sh

temporary=$(mktemp -d)
trap 'rm -rf -- "$temporary"' EXIT
ln -s "$PWD" "$temporary/backflow"

# compile "HEADER..." FLAGS...: preprocesses them or looks for errors, as the flags say, and nothing
# else.
compile() {
  local headers=$1
  shift
  printf '#include "backflow/%s"\n' $headers |
    "${CXX:-g++}" -std=c++20 -Wall -Wextra -Wpedantic -Wshadow -Wsign-conversion \
      -Werror -I"$temporary" "$@" -x c++ -
}

# our_text HEADER MARCH: what it and the headers of ours that it includes mean for such a processor.
our_text() {
  compile "$1" -E -march="$2" |
    awk '/^# [0-9]+ "/ {ours = index($3, "/backflow/") > 0; next} ours && NF'
}

check() {
  local header=$1 text
  compile "$header" -fsyntax-only || die "$header does not compile alone"
  text=$(our_text "$header" x86-64)
  [[ -n $text ]] || die "$header: found no text of ours after preprocessing, expected some"
  [[ $text == "$(our_text "$header" x86-64-v4)" ]] || die "$header depends on the processor"
  if grep -nE 'vector_size|__attribute__ *\(\((simd|__simd__)|__m(128|256|512)' <<<"$text"; then
    die "$header holds vector types or functions"
  fi
}

export -f check compile our_text die
export temporary
if (($#)); then
  headers=("$@")
else
  mapfile -t headers < <(git ls-files 'engine/*.h' 'ops/*.h' 'flows/*.h' |
    grep -v '^engine/pch/' | xargs grep -LE -m 1 '^// .*Internal to')
fi
printf '%s\n' "${headers[@]}" | xargs -P "$(nproc)" -I{} bash -euo pipefail -c 'check {}'
say "${#headers[@]} public headers compile alone, for any processor"
# In double they read the same headers: so it is enough that they compile, and once.
compile "${headers[*]}" -fsyntax-only -DBACKFLOW_DOUBLE ||
  die "the public headers do not compile in double"
say "they compile in double"

if ((!$#)); then
  mapfile -t together < <(git ls-files '*.h' | grep -vE '/pch/|^tests/fuzz/')
  {
    echo '#include <gtest/gtest.h>'
    printf '#define %s ""\n' SNF_PROGRAM ZOO_PROGRAM SNF_VERSION BACKFLOW_SOURCE_ROOT
    printf '#include "backflow/%s"\n' "${together[@]}"
  } | "${CXX:-g++}" -std=c++20 -Wall -Wextra -Werror -fsyntax-only -I"$temporary" -x c++ - ||
    die "the headers do not compile together"
  say "${#together[@]} headers of all rooms compile together"
fi
