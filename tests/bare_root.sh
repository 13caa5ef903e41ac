#!/usr/bin/env bash
# bare_root.sh - the README's first command where nothing is installed: a minimal Debian 12 root
# with the source in it. Without rights `scripts/demo --once` prints the one line to run and exits 2;
# as root it installs what it needs, builds and succeeds, in less than 2 minutes apart from the
# installing. Uses the mirror of this machine and this machine's loopback. Prints TAP.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tests/root.sh
. tests/root.sh
root_namespace "$@"

limit_s=120
work=$(mktemp -d "${TMPDIR:-/tmp}/mesh-bare.XXXXXX")
trap 'root_remove "$work"' EXIT
root=$work/root
number=0 failed=0
check() { # TRUE-OR-FALSE SENTENCE [FILE]
  number=$((number + 1))
  if [ "$1" = true ]; then
    echo "ok $number - $2"
    return
  fi
  failed=1
  echo "not ok $number - $2"
  if [ -n "${3:-}" ]; then tail -n 40 "$3" | sed 's/^/# /'; fi
}
is() { if "$@" >/dev/null 2>&1; then echo true; else echo false; fi; }

begin=$SECONDS
mkdir "$root"
root_make "$root"
root_copy_tree . "$root/src"
echo "# bare root: $((SECONDS - begin)) s"

code=0
root_run "$root" 65534:65534 /src/scripts/demo --once >"$work/out" 2>"$work/err" || code=$?
cat "$work/out" >>"$work/err"
check "$(is test "$code" -eq 2)" "without rights the demo exits 2 (exit code $code)" "$work/err"
check "$(is test "$(wc -l <"$work/err")" -eq 1)" "it prints one line" "$work/err"
line=$(cat "$work/err")
check "$(is grep -qE '^apt-get update && apt-get install -y ' "$work/err")" "the line can be run as it is"

begin=$SECONDS code=0
root_run "$root" 0:0 /src/scripts/demo --once >"$work/out" 2>&1 || code=$?
all=$((SECONDS - begin))
check "$(is test "$code" -eq 0)" "as root the demo succeeds (exit code $code)" "$work/out"
check "$(is grep -qE '^ *50 sessions, [0-9]+ messages: .* 0 failures' "$work/out")" \
  "50 sessions without a failure" "$work/out"
seconds=$(sed -n 's/^ *seconds  *//p' "$work/out")
packages=$(sed -n 's/.*packages \([0-9]*\).*/\1/p' <<<"$seconds")
check "$(is test "$((all - ${packages:-0}))" -lt "$limit_s")" \
  "it takes less than $limit_s s apart from the packages ($all s: $seconds)"

absent=
line=${line%% #*}
for name in ${line##* --no-install-recommends }; do
  # shellcheck disable=SC2016 # dpkg's own placeholder
  root_run "$root" 0:0 dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null |
    grep -qx installed || absent+=" $name"
done
check "$(is test -z "$absent")" "the line names what the demo installed as root${absent:+; not:$absent}"

echo "1..$number"
if [ "$failed" -ne 0 ]; then echo "# repeat: tests/bare_root.sh"; fi
exit "$failed"
