#!/usr/bin/env bash
# units.sh   checks the systemd unit: no line that systemd would pass over, and no more exposed than
# agreed; and that the check itself sees each misspelt line. Then a systemd of its own starts the unit, with
# a trial in the program's place: whether the agent's sandbox can be made there, and the program makes it.
#
#   BIN=FILE   the binary; default target/debug/breakglass
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/packages.sh
need systemd-analyze=systemd bwrap=bubblewrap setpriv=util-linux ip=iproute2 curl=curl
bin=$(realpath "${BIN:-target/debug/breakglass}")
[ "$(id -u)" = 0 ] || { echo "units: a systemd of its own needs root" >&2; exit 1; }
unit=breakglass.service
# Of ten, times ten. What is left: the network, four capabilities, accounts of its own, and what the agent's
# sandbox is made of: namespaces, mounts, and a /proc of which nothing is covered.
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
verify() { # what systemd has to say of the text on standard input
  cat >"$root/etc/systemd/system/$unit"
  systemd-analyze verify --root="$root" --man=no "$unit" 2>&1 || true
}

failed=0 passed=0
check() { if "${@:2}"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "units: $1" >&2; fi; }

said=$(verify <deploy/systemd/$unit)
check "systemd says: $said" test -z "$said"
check "it is more exposed than agreed" \
  systemd-analyze security --offline=true --root="$root" --no-pager --threshold=$threshold $unit >"$root/exposure"
tail -1 "$root/exposure"
lines=$(grep -n '^[A-Z][A-Za-z]*=' deploy/systemd/$unit | cut -d: -f1)
for line in $lines; do
  said=$(sed "${line}s/=/x=/" deploy/systemd/$unit | verify)
  check "line $line misspelt goes unnoticed" test -n "$said"
done
# In the unit, as the unit has it: own capabilities, own account, the agent's account.
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
} >/var/lib/breakglass/said
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
until grep -qs '^end' "$root/boot/state/said" || [ $SECONDS -ge $end ] || ! kill -0 "$booted" 2>/dev/null; do sleep 0.1; done
said=$(cat "$root/boot/state/said" 2>/dev/null || tail -5 "$root/boot/log")
check "the unit covers parts of /proc, or did not start: $said" grep -qx 'covered *' <<<"$said"
check "no sandbox of the server's account in the unit: $said" grep -qx 'own 1 cell' <<<"$said"
check "no sandbox of the agent's account in the unit: $said" grep -qx 'agent 1 cell' <<<"$said"
check "the program makes none there, or its agent does not work in it: $said" \
  grep -q '^me .*"available":true' <<<"$(grep -v '"ceiling"' <<<"$said")"
echo "units: $passed passed, $failed failed"
[ $failed = 0 ]
