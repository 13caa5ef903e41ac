#!/usr/bin/env bash
# image.sh - the Dockerfile's own steps where no container engine is: each stage in a root of its
# own (debootstrap for Debian, an empty directory for scratch), then the image's program run in the
# last one as the image's user: --version, then a peer that its own HEALTHCHECK calls healthy. Knows
# the instructions this Dockerfile uses and refuses any other. Prints TAP; needs root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tests/root.sh
. tests/root.sh
root_namespace "$@"

work=$(mktemp -d "${TMPDIR:-/tmp}/mesh-image.XXXXXX")
peer=
end() {
  if [ -n "$peer" ]; then
    kill -KILL "$peer" 2>/dev/null || true
    wait "$peer" 2>/dev/null || true
  fi
  root_remove "$work"
}
trap end EXIT
number=0
okay() {
  number=$((number + 1))
  echo "ok $number - $1"
}
fail() { # SENTENCE [FILE]
  number=$((number + 1))
  echo "not ok $number - $1"
  if [ -n "${2:-}" ]; then tail -n 40 "$2" | sed 's/^/# /'; fi
  echo "1..$number"
  echo "# repeat: tests/image.sh"
  exit 1
}

# --- what COPY may take: the tree without what .dockerignore names

context=$work/context
root_copy_tree . "$context"
shopt -s globstar nullglob dotglob
while IFS= read -r pattern; do
  case $pattern in
    '' | '#'*) continue ;;
    !* | /* | *..*) fail ".dockerignore: $pattern is not understood here" ;;
  esac
  # shellcheck disable=SC2206 # a pattern of names is meant
  ignored=("$context"/$pattern)
  if [ ${#ignored[@]} -gt 0 ]; then rm -rf "${ignored[@]}"; fi
done <.dockerignore
shopt -u globstar nullglob dotglob

# --- the stages

declare -A roots=() # by name
root='' workdir=/ user=0:0 entrypoint='' health='' stages=0
environment=()

# ["a", "b"] to words, one a line; nothing but plain strings.
words_of() {
  local string='"[^"\\]*"'
  [[ $1 =~ ^\[$string(,\ ?$string)*\]$ ]] || fail "not understood: $1"
  grep -o '"[^"]*"' <<<"$1" | tr -d '"'
}

step_from() { # IMAGE [AS NAME]
  root=$work/stage$stages
  stages=$((stages + 1)) workdir=/ user=0:0 entrypoint='' health='' environment=()
  mkdir "$root"
  case $1 in
    scratch) ;;
    debian:12 | debian:12-slim) root_make "$root" ;;
    *) fail "FROM $1: no such root here" ;;
  esac
  if [ $# -eq 3 ] && [ "$2" = AS ]; then
    roots[$3]=$root
  elif [ $# -ne 1 ]; then
    fail "FROM $*: not understood"
  fi
}

# A path of this stage, absolute.
inside() { case $1 in /*) echo "$root$1" ;; *) echo "$root${workdir%/}/$1" ;; esac; }

step_copy() { # [--from=STAGE] SOURCE... TARGET
  local from=$context source target
  case $1 in
    --from=*)
      from=${roots[${1#--from=}]:-}
      if [ -z "$from" ]; then fail "COPY $*: no such stage"; fi
      shift
      ;;
    --*) fail "COPY $*: not understood" ;;
  esac
  target=$(inside "${*: -1}")
  if [ $# -gt 2 ] || [ -d "$from/$1" ] || [[ $target == */ ]]; then
    mkdir -p "$target"
  else
    mkdir -p "$(dirname "$target")"
  fi
  for source in "${@:1:$#-1}"; do
    if [ ! -e "$from/$source" ]; then fail "COPY $source: there is no such file"; fi
    if [ -d "$from/$source" ]; then source=$source/.; fi
    cp -a --no-preserve=ownership "$from/$source" "$target"
  done
}

step_run() { # COMMAND
  case $1 in '['* | --*) fail "RUN $1: not understood" ;; esac
  root_run "$root" "$user" /usr/bin/env "${environment[@]}" \
    /bin/sh -c "cd '$workdir' && $1" >"$work/log" 2>&1 || fail "RUN $1" "$work/log"
}

step() { # INSTRUCTION REST
  local begin=$SECONDS list
  read -ra list <<<"$2"
  case $1 in
    FROM) step_from "${list[@]}" ;;
    COPY) step_copy "${list[@]}" ;;
    RUN) step_run "$2" ;;
    WORKDIR)
      workdir=$2
      mkdir -p "$root$workdir"
      ;;
    ENV)
      for word in "${list[@]}"; do
        [[ $word =~ ^[A-Z_]+=[^\"\'\$]+$ ]] || fail "ENV $2: not understood"
        environment+=("$word")
      done
      ;;
    USER)
      [[ $2 =~ ^[1-9][0-9]*:[1-9][0-9]*$ ]] || fail "USER $2: a number that is not root is wanted"
      user=$2
      ;;
    EXPOSE)
      [[ "$2 " =~ ^([0-9]+/(tcp|udp)\ )+$ ]] || fail "EXPOSE $2: not understood"
      ;;
    HEALTHCHECK)
      [[ $2 =~ ^(--(interval|timeout|start-period)=[0-9]+s\ )*CMD\ (\[.*\])$ ]] ||
        fail "HEALTHCHECK $2: not understood"
      health=${BASH_REMATCH[3]}
      ;;
    ENTRYPOINT) entrypoint=$2 ;;
    *) fail "$1: an instruction that is not known here" ;;
  esac
  okay "$1 $2 ($((SECONDS - begin)) s)"
}

# Comments go, lines that end in a backslash are joined.
while IFS= read -r line; do
  step "${line%% *}" "${line#* }"
done < <(awk '/^[ \t]*(#|$)/ { next }
  { sub(/^[ \t]+/, ""); more = sub(/[ \t]*\\$/, " "); text = text $0 }
  !more { print text; text = "" }
  END { if (text != "") print text }' Dockerfile)

# --- the image

if [ "$user" = 0:0 ] || [ -z "$entrypoint" ] || [ -z "$health" ]; then
  fail "the image has a user, a program and a health check"
fi
mapfile -t program < <(words_of "$entrypoint")
mapfile -t probe < <(words_of "$health")
# Takes the place of the shell it runs in: a pid is the program's own. There may be no env in the
# image, so the environment is set before.
exec_in_image() { # [NAME=VALUE...] COMMAND...
  local set=("${environment[@]}")
  while [[ $1 == *=* ]]; do
    set+=("$1")
    shift
  done
  exec env -i "${set[@]}" "$(command -v chroot)" --userspec="$user" "$root" "$@"
}

want="meshd $(sed -n "s/^ *version: '\(.*\)',/\1/p" meson.build)"
got=$(exec_in_image "${program[@]}" --version 2>&1) || true
if [ "$got" != "$want" ]; then fail "the image's program says '$got', not '$want'"; fi
okay "as $user the image's program says: $got"

# An engine gives it /dev/null, and addresses of its own where this test has loopback only.
mkdir -p "$root/dev"
touch "$root/dev/null"
mount --bind /dev/null "$root/dev/null"
exec_in_image MESH_LISTEN=127.0.0.1:0 MESH_PEER_LISTEN=127.0.0.1:0 MESH_ADMIN=127.0.0.1:0 MESH_NAME=image \
  "${program[@]}" 2>"$work/log" &
peer=$!
healthy=
for ((i = 0; i < 100; i++)); do
  port=$(sed -n 's/.* admin_port=\([0-9]*\).*/\1/p' "$work/log")
  if [ -n "$port" ] &&
    (exec_in_image "MESH_ADMIN=127.0.0.1:$port" "${probe[@]}") >"$work/health" 2>&1; then
    healthy=yes
    break
  fi
  sleep 0.1
done
if [ -z "$healthy" ]; then fail "its health check calls it healthy" "$work/log"; fi
okay "its health check says: $(cat "$work/health")"
kill "$peer"
code=0
wait "$peer" || code=$?
peer=
if [ "$code" -ne 0 ]; then fail "SIGTERM ends it with exit code 0 (not $code)" "$work/log"; fi
okay "SIGTERM ends it with exit code 0"
umount "$root/dev/null"
echo "# size of the image: $(du -sm "$root" | cut -f1) MB, $(find "$root" -type f | wc -l) files"
echo "1..$number"
