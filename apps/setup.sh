# Sourced by apps/demo.sh and tests/run.sh: what a fresh Debian machine lacks, and the build.

say() { echo "==> $*"; }

die() {
  echo "$*" >&2
  exit 2
}

# apt_get WORDS...: apt-get through as_root. Connections that hang are given up soon, and a failure is
# one line, which has the last one of apt-get's.
apt_get() {
  local errors
  errors=$("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=1 \
    -o Acquire::http::Timeout=15 -o Acquire::https::Timeout=15 "$@" 2>&1 >/dev/null) && return
  say "apt-get $* failed: ${errors##*$'\n'}"
  return 1
}

# sources_answer: whether one of apt's hosts does, or fails at once, within seconds. Of a host that
# takes connections and is silent apt-get itself asks every file, twice. The variable is for tests.
sources_answer() {
  local url urls status file
  mapfile -t urls < <(apt-get update --print-uris 2>/dev/null | cut -d "'" -f 2 |
    awk -F / '/^https?:/ && !seen[$3]++')
  ((${#urls[@]})) || return 0
  file=$(mktemp)
  for url in "${urls[@]}"; do
    status=0
    timeout --foreground --kill-after=1 "${BACKFLOW_FETCH_PATIENCE-10}" \
      /usr/lib/apt/apt-helper -o Acquire::Retries=0 download-file "$url" "$file" >/dev/null 2>&1 ||
      status=$?
    [[ $status == @(124|137) ]] || break
  done
  rm -f -- "$file"
  [[ $status != @(124|137) ]]
}

# Before the first installation: new lists of packages. Sets offline, an option for when there are
# none to be had; older ones, and packages that are here already, may do.
open_sources() {
  [[ ! -v offline ]] || return 0
  offline=()
  if sources_answer; then
    apt_get update || true
  else
    say "apt's sources do not answer"
    offline=(--no-download)
  fi
}

# install PACKAGE...: those that are missing, as root or through sudo. Fails where that cannot be,
# after one line that says why; missing holds what was to be installed.
install() {
  local package as_root=()
  missing=()
  for package in "$@"; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q ' installed$' ||
      missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
      say "cannot install ${missing[*]}: this is not root, and there is no sudo"
      return 1
    fi
    as_root=(sudo)
  fi
  say "installing Debian packages: ${missing[*]}"
  open_sources
  apt_get install -y --no-install-recommends "${offline[@]}" "${missing[@]}"
}

# need PACKAGE...: installs them, or ends the script with a line that says how to.
need() {
  install "$@" ||
    die "missing Debian packages: ${missing[*]}; as root, run: apt-get install ${missing[*]}"
}

install_build_tools() {
  need g++ meson ninja-build pkg-config libopenblas-dev libcli11-dev nlohmann-json3-dev \
    zlib1g-dev libpng-dev libgtest-dev gnuplot-nox curl ca-certificates
}

# configure DIR [MESON OPTION]...: a release build there, or what the options say.
configure() {
  local dir=$1 again=()
  shift
  [[ -f $dir/build.ninja ]] && again=(--reconfigure)
  say "configuring $dir"
  meson setup "${again[@]}" "$dir" --buildtype=release -Dapps=enabled -Dtests=enabled "$@" >"$dir.log" 2>&1 ||
    { cat "$dir.log"; die "meson failed"; }
  rm -f "$dir.log"
}
