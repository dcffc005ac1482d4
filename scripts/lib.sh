# shellcheck shell=bash
# Set-up steps shared by the scripts in this folder; sourced, never run.
# Needs root only when a package is missing.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
llvm_version=$(<"$root/cmake/llvm-version.txt")
llvm_major=${llvm_version%%.*}

packages=(
  ccache
  "clang-$llvm_major"
  "clang-format-$llvm_major"
  cmake
  g++
  git
  "libclc-$llvm_major"
  libdlpack-dev
  libgmock-dev
  libgtest-dev
  "liblld-$llvm_major-dev"
  "libmlir-$llvm_major-dev"
  libzstd-dev
  "lld-$llvm_major"
  "llvm-$llvm_major-dev"
  "llvm-$llvm_major-tools"
  "mlir-$llvm_major-tools"
  ninja-build
  nlohmann-json3-dev
  openmpi-bin
  python3
  python3-dev
  python3-psutil
  python3-venv
  zlib1g-dev
)

# With --help a script says what its first comment says, and does nothing.
case ${1-} in
  -h | --help)
    awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"
    exit 0
    ;;
esac

say() { printf '== %s\n' "$*"; }

die() {
  printf '%s: error: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# Runs a command up to three times: mirrors fail now and then.
retry() {
  local attempt
  for attempt in 1 2 3; do
    "$@" && return 0
    [ "$attempt" = 3 ] || { say "failed, trying again: $*"; sleep $((attempt * 5)); }
  done
  return 1
}

missing_packages() {
  local package
  for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
      printf '%s\n' "$package"
  done
}

setup_packages() {
  if ! command -v dpkg-query >/dev/null; then
    say "no dpkg-query here: CMake looks for LLVM $llvm_version and the rest"
    return
  fi
  local missing
  mapfile -t missing < <(missing_packages)
  [ ${#missing[@]} -eq 0 ] && return
  [ "$(id -u)" = 0 ] ||
    die "needs these packages; install them, or run this script as root: ${missing[*]}"
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  retry apt-get -qq update || die "apt-get update failed"
  retry apt-get -qq -y --no-install-recommends install "${missing[@]}" ||
    die "apt-get install failed"
}

# Debian's Python, so that the environment does not depend on what else is in
# PATH.
setup_python() {
  local stamp="$root/.venv/requirements.stamp"
  cmp -s "$root/requirements.txt" "$stamp" && return
  say "making the Python environment .venv"
  rm -rf "$root/.venv"
  /usr/bin/python3 -m venv "$root/.venv" || die "python3 -m venv failed"
  retry "$root/.venv/bin/python" -m pip install --quiet \
    --disable-pip-version-check -r "$root/requirements.txt" ||
    die "pip install failed"
  cp "$root/requirements.txt" "$stamp"
}

# build [target...]: configures when needed and builds; all targets by default.
build() {
  cd "$root" || die "cannot enter $root"
  mkdir -p build
  # Two builds in one folder would take each other's files away.
  exec 9>build/building.lock
  flock --nonblock 9 || { say "waiting for another build of this folder"; flock 9; }
  if [ ! -f build/build.ninja ]; then
    say "configuring build/"
    cmake --preset release >build/configure.log 2>&1 ||
      { cat build/configure.log; die "configuring failed"; }
  fi
  say "building (about 5 minutes on two cores the first time)"
  NINJA_STATUS='[%p %f of %t] ' cmake --build build -- "$@" | show_progress ||
    die "the build failed"
  exec 9>&-
}

# Ninja's lines, shortened: on a terminal the last one, elsewhere one for every
# tenth of the work. What compilers say stays.
show_progress() {
  local terminal=0
  [ -t 1 ] && terminal=1
  awk -v terminal="$terminal" -v width="${COLUMNS:-100}" '
    function finish() { if (drawn) printf "\n"; drawn = 0 }
    !/^\[ *[0-9]+% / { if ($0 != "ninja: no work to do.") { finish(); print } fflush(); next }
    terminal { printf "\r\033[K%s", substr($0, 1, width - 1); drawn = 1; fflush(); next }
    {
      percent = substr($0, 2) + 0
      if (percent >= shown + 10) { shown = percent - percent % 10; print; fflush() }
    }
    END { finish() }'
}
