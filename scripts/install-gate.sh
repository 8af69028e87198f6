#!/usr/bin/env bash
# install-gate.sh HOST GUEST [qm|virsh]   installs the gate and a policy for GUEST on a hypervisor
#   (HOST as in ssh, as root), and runs the gate to check both. Keeps an existing policy.
set -euo pipefail
host=${1:?usage: install-gate.sh HOST GUEST [qm|virsh]} guest=${2:?the guest is missing} driver=${3:-qm}
case $driver:$guest in
  qm:*[!0-9]* | *:-* | *:*[!A-Za-z0-9._-]*) echo "not a valid guest: $guest" >&2; exit 2 ;;
  qm:*) ;;
  virsh:*) guest="\"$guest\"" ;;
  *) echo "the drivers are qm and virsh, not $driver" >&2; exit 2 ;;
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
