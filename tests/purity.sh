#!/usr/bin/env bash
# purity.sh BUILD_DIR - the undefined symbols of the pure archives against a list of allowed ones.
# The linker alone would not notice clock_gettime() or rand(): they are in libc like memcpy().
set -euo pipefail
build=$1
here=$(dirname "$0")

# What an archive leaves undefined once its own and its allowed neighbours' definitions are out.
undefined() {
  nm -A --undefined-only "$@" | awk 'NF > 1 && $(NF - 1) == "U" {print $NF}' | sort -u
}
defined() {
  nm --defined-only "$@" 2>/dev/null | awk 'NF == 3 {print $3}' | sort -u
}
# check NAME LIST NEIGHBOUR... -- ARCHIVE...: neighbours define, but are judged by themselves.
check() {
  local name=$1 allowed=$2 neighbours=() strange
  shift 2
  while [ "$1" != -- ]; do
    neighbours+=("$1")
    shift
  done
  shift
  strange=$(comm -23 <(undefined "$@") <(defined "$@" "${neighbours[@]}") |
    grep -vxF -f "$here/purity/$allowed" || true)
  strange=$(grep -vE '^(__stack_chk_fail|__asan_.*|__ubsan_.*|_GLOBAL_OFFSET_TABLE_|__sanitizer_.*)$' \
    <<<"$strange" || true)
  if [ -n "$strange" ]; then
    echo "not ok - $name is pure: it uses" $strange
    echo "# repeat: tests/purity.sh $build"
    return 1
  fi
  echo "ok - $name is pure"
}

mesh=("$build"/mesh/libmesh_{base,wire,member,session}.a "$build"/mesh/libmesh.a)
http=$build/http/libhttp.a
rc=0
# nm says nothing of what is not there.
for archive in "${mesh[@]}" "$http"; do
  if [ ! -f "$archive" ]; then
    echo "not ok - $archive is there"
    exit 1
  fi
done
check "mesh/" mesh.txt -- "${mesh[@]}" || rc=1
check "http/ without admin" http.txt "${mesh[0]}" -- "$http" || rc=1
exit $rc
