#!/usr/bin/env bash
# units.sh   checks the systemd unit: systemd ignores no line of it (each line is misspelt once to show that
# this is detected), and its exposure is within the threshold. Then a separate systemd starts the unit with a
# trial in place of the program: can the agent's sandbox be made there, and does the program make it?
#
#   BIN=FILE   the binary; default target/debug/breakglass
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/packages.sh
need systemd-analyze=systemd bwrap=bubblewrap setpriv=util-linux ip=iproute2 curl=curl
bin=$(realpath "${BIN:-target/debug/breakglass}")
[ "$(id -u)" = 0 ] || { echo "units: a separate systemd needs root" >&2; exit 1; }
unit=breakglass.service
# Exposure of ten, times ten. The rest is needed: the network, four capabilities, accounts of its own, and for
# the agent's sandbox namespaces, mounts, and an uncovered /proc.
threshold=38

root=$(mktemp -d)
booted=
clean_up() {
  if [ -n "$booted" ]; then kill -KILL "$booted" 2>/dev/null || true; wait "$booted" 2>/dev/null || true; fi
  rm -rf "$root"
}
trap clean_up EXIT
mkdir -p "$root/etc/systemd/system" "$root/usr/lib/systemd" "$root/usr/local/bin"
cp -r /usr/lib/systemd/system "$root/usr/lib/systemd/system"
cp "$(type -P true)" "$root/usr/local/bin/breakglass"
verify() { # systemd's complaints about the unit on standard input
  cat >"$root/etc/systemd/system/$unit"
  systemd-analyze verify --root="$root" --man=no "$unit" 2>&1 || true
}

failed=0 passed=0
check() { if "${@:2}"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "units: $1" >&2; fi; }

output=$(verify <deploy/systemd/$unit)
check "systemd complains: $output" test -z "$output"
check "its exposure exceeds the threshold" \
  systemd-analyze security --offline=true --root="$root" --no-pager --threshold=$threshold $unit >"$root/exposure"
tail -1 "$root/exposure"
lines=$(grep -n '^[A-Z][A-Za-z]*=' deploy/systemd/$unit | cut -d: -f1)
for line in $lines; do
  output=$(sed "${line}s/=/x=/" deploy/systemd/$unit | verify)
  check "systemd does not notice that line $line is misspelt" test -n "$output"
done
# Runs in the unit, with its capabilities, its account and the agent's account.
mkdir -m 0755 "$root/boot" "$root/boot/state"
cat >"$root/boot/trial" <<'TRIAL'
cd /
make="/usr/bin/bwrap --unshare-user --unshare-pid --unshare-net --unshare-ipc --unshare-uts --unshare-cgroup-try
  --die-with-parent --new-session --as-pid-1 --cap-drop ALL --hostname cell --ro-bind / / --proc /proc --dev /dev --"
bare="setpriv --inh-caps=-all --ambient-caps=-all --bounding-set=-all"
agent="--reuid=breakglass-agent --regid=breakglass-agent --clear-groups"
{
  echo "covered $(awk '$5 ~ "^/proc/" { print $5 }' /proc/self/mountinfo | tr '\n' ' ')"
  echo "own $($bare $make sh -c 'echo $$ $(hostname)' 2>&1)"
  echo "agent $($bare $agent $make sh -c 'echo $$ $(hostname)' 2>&1)"
  /usr/local/bin/breakglass drill --listen 127.0.0.1:8099 >/tmp/url 2>/tmp/errors &
  for _ in $(seq 200); do grep -q sign-in= /tmp/url && break; sleep 0.1; done
  ask="curl -sS --max-time 20 -b /tmp/jar -c /tmp/jar -H sec-fetch-site:same-origin -H content-type:application/json"
  $ask -d "{\"token\":\"$(sed -n 's/.*sign-in=\([0-9a-f]*\).*/\1/p' /tmp/url)\"}" http://127.0.0.1:8099/api/login
  echo "me $($ask http://127.0.0.1:8099/api/me | sed "s/,.presets.*//") $(cat /tmp/errors)"
  kill $!; wait
  echo "end"
} >/var/lib/breakglass/output
TRIAL
cat >"$root/boot/trial.conf" <<'CONF'
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
Restart=no
ExecStart=
ExecStart=/bin/sh /run/trial
CONF
cat >"$root/boot/start" <<'START'
set -eu
boot=$1 unit=$2 accounts=$3
mount -t tmpfs tmpfs "$boot/layers"
mkdir "$boot/layers/up" "$boot/layers/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$boot/layers/up,workdir=$boot/layers/work" "$boot/root"
cd "$boot/root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t devtmpfs devtmpfs dev
mkdir -p var/lib/breakglass run/old
mount --bind "$boot/state" var/lib/breakglass
rm -rf etc/systemd/system/*
mkdir etc/systemd/system/breakglass.service.d
cp "$unit" etc/systemd/system/breakglass.service
cp "$boot/trial.conf" etc/systemd/system/breakglass.service.d/
cp "$boot/trial" run/trial
cp "$4" usr/local/bin/breakglass
ip link set lo up
systemd-sysusers --root="$PWD" "$accounts"
printf %032d 1 >etc/machine-id
pivot_root . run/old
umount -l run/old
export container=trial
exec /lib/systemd/systemd --system --unit=breakglass.service --log-target=console --show-status=no
START
mkdir "$root/boot/root" "$root/boot/layers"
unshare --mount --propagation private --pid --fork --kill-child --uts --ipc --net --cgroup \
  bash "$root/boot/start" "$root/boot" "$PWD/deploy/systemd/$unit" "$PWD/deploy/systemd/breakglass.sysusers.conf" "$bin" \
  </dev/null >"$root/boot/log" 2>&1 &
booted=$!
end=$((SECONDS + 60))
until grep -qs '^end' "$root/boot/state/output" || [ $SECONDS -ge $end ] || ! kill -0 "$booted" 2>/dev/null; do sleep 0.1; done
output=$(cat "$root/boot/state/output" 2>/dev/null || tail -5 "$root/boot/log")
check "the unit covers parts of /proc, or did not start: $output" grep -qx 'covered *' <<<"$output"
check "no sandbox of the server's account in the unit: $output" grep -qx 'own 1 cell' <<<"$output"
check "no sandbox of the agent's account in the unit: $output" grep -qx 'agent 1 cell' <<<"$output"
check "the program makes no sandbox there, or its agent does not work: $output" \
  grep -q '^me .*"available":true' <<<"$(grep -v '"ceiling"' <<<"$output")"
echo "units: $passed passed, $failed failed"
[ $failed = 0 ]
