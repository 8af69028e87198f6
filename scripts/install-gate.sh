#!/usr/bin/env bash
# install-gate.sh HOST GUEST [qm|virsh]   installs the gate and a policy for one guest on a hypervisor
#   (HOST as ssh knows it, as root), and runs the gate's own check of both. An existing policy is kept.
set -euo pipefail
host=${1:?usage: install-gate.sh HOST GUEST [qm|virsh]} guest=${2:?which guest?} driver=${3:-qm}
case $driver:$guest in
  qm:*[!0-9]* | *:-* | *:*[!A-Za-z0-9._-]*) echo "install-gate: $guest is not a valid guest: a number for qm, a domain name for virsh" >&2; exit 2 ;;
  qm:*) ;;
  virsh:*) guest="\"$guest\"" ;;
  *) echo "install-gate: unknown driver $driver; use qm or virsh" >&2; exit 2 ;;
esac
built=$("$(dirname "$0")/gate.sh")
printf '%s\n' "$built" >&2
gate=${built%%: *}
scp -q "$(dirname "$0")/../$gate" "$host:/usr/local/sbin/breakglass-gate.new"
ssh "$host" sh -s <<HOST
set -e
chown root:root /usr/local/sbin/breakglass-gate.new
chmod 0755 /usr/local/sbin/breakglass-gate.new
mv /usr/local/sbin/breakglass-gate.new /usr/local/sbin/breakglass-gate
install -d -o root -g root -m 0755 /etc/breakglass
if ! [ -e /etc/breakglass/gate.toml ]; then
  umask 022
  printf 'driver = "%s"\nguest = %s\n' '$driver' '$guest' >/etc/breakglass/gate.toml
fi
/usr/local/sbin/breakglass-gate --check
HOST
