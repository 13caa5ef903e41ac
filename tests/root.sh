# root.sh - for the tests that need a bare Debian 12: a root made by debootstrap from the mirror that
# this machine is configured for, left as it was found. Sourced by image.sh and bare_root.sh, which
# run as root in a mount namespace of their own, so that no mount stays behind.
# shellcheck shell=bash

# Runs the script again in a mount namespace, once. Without root or the right to it: exit 77, which
# meson and scripts/test take as skipped.
root_namespace() { # "$@" of the script
  if [ "$(id -u)" != 0 ]; then
    echo "1..0 # SKIP ${0##*/} needs root"
    exit 77
  fi
  if ! command -v debootstrap >/dev/null; then
    echo "1..0 # SKIP ${0##*/} needs debootstrap: scripts/need root"
    exit 77
  fi
  if [ -z "${ROOT_NAMESPACE:-}" ]; then
    if ! unshare --mount true 2>/dev/null; then
      echo "1..0 # SKIP ${0##*/} needs the right to mount"
      exit 77
    fi
    ROOT_NAMESPACE=yes exec unshare --mount --propagation private "$PWD/tests/${0##*/}" "$@"
  fi
}

# The mirror of this machine's own release: not that of its updates, not of other sources.
root_mirror() {
  local found
  # shellcheck disable=SC2016 # apt's own placeholders
  found=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)' \
    'Created-By: Packages' 2>/dev/null |
    awk '$3 == "main" && $2 !~ /-/ && ($4 == "Debian" || ($4 == "" && $1 ~ /\/debian\/?$/)) {
           print $1; exit }')
  if [ -z "$found" ]; then
    echo "root: no Debian mirror is configured here" >&2
    return 1
  fi
  echo "$found"
}

# A minimal Debian 12 in DIR. ROOT_TAR: a file that holds one, made if it is missing, for those who
# need several.
root_make() { # DIR
  local mirror include=()
  if [ -n "${ROOT_TAR:-}" ] && [ -s "$ROOT_TAR" ]; then
    tar -xpf "$ROOT_TAR" -C "$1" --numeric-owner
  else
    mirror=$(root_mirror)
    case $mirror in https:*) include=(--include=ca-certificates) ;; esac
    debootstrap --variant=minbase "${include[@]}" bookworm "$1" "$mirror" >"$1.log" 2>&1 || {
      tail -n 20 "$1.log" | sed 's/^/# /'
      return 1
    }
    # How this machine reaches its mirror, and how far it trusts its own clock.
    apt-config dump | grep -E '^Acquire::(http|https|Check-)[^ ]* "[^"]+";' \
      >"$1/etc/apt/apt.conf.d/90host" || true
    if [ -n "${ROOT_TAR:-}" ]; then
      tar -cpf "$ROOT_TAR.new" -C "$1" --numeric-owner . && mv "$ROOT_TAR.new" "$ROOT_TAR"
    fi
  fi
  if [ -e /etc/resolv.conf ]; then cat /etc/resolv.conf >"$1/etc/resolv.conf"; fi
  mount -t proc proc "$1/proc"
}

# The source tree as a fresh checkout would have it: no .git, nothing built.
root_copy_tree() { # SOURCE DIR
  mkdir -p "$2"
  if git -C "$1" rev-parse --git-dir >/dev/null 2>&1; then
    (cd "$1" && git ls-files -z --cached --others --exclude-standard |
      while IFS= read -rd '' file; do if [ -e "$file" ]; then printf '%s\0' "$file"; fi; done |
      tar -c --null --verbatim-files-from -T - --owner=0 --group=0) | tar -x -C "$2"
  else
    tar -c -C "$1" --exclude=./.git --exclude='./build*' --exclude=node_modules --owner=0 --group=0 . |
      tar -x -C "$2"
  fi
}

# A command in DIR, with an environment as bare as the root.
root_run() { # DIR USER:GROUP COMMAND...
  local root=$1 user=$2
  shift 2
  chroot --userspec="$user" "$root" /usr/bin/env -i HOME=/root TERM=dumb \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@" </dev/null
}

root_remove() { # DIR
  local at
  # The innermost first; paths made by mktemp hold no blanks.
  awk -v dir="$1/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
    while IFS= read -r at; do umount "$at"; done
  rm -rf --one-file-system "$1"
}
