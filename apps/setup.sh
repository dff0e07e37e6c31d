# Sourced by apps/demo.sh and tests/run.sh: what a fresh Debian machine lacks, and the build.

say() { echo "==> $*"; }

die() {
  echo "$*" >&2
  exit 2
}

# install PACKAGE...: those that are missing, as root or through sudo.
install() {
  local package missing=() as_root=()
  for package in "$@"; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q ' installed$' ||
      missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  if ((EUID != 0)); then
    command -v sudo >/dev/null || die "missing packages: become root and run: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing Debian packages: ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" >/dev/null
}

install_build_tools() {
  install g++ meson ninja-build pkg-config libopenblas-dev libcli11-dev nlohmann-json3-dev \
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
