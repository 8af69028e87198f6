# The common part of the scripts for guest and host. The parameters precede this text, each as a quoted assignment:
# action (inspect, apply, remove), user, line, probe, blob, old, drop and those of the guest or host.
set -eu
umask 022
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL

fact() { printf 'fact %s\n' "$*"; }
fail() {
  printf 'breakglass: %s\n' "$*" >&2
  exit 1
}
account() { id "$user" >/dev/null 2>&1; }
is_root() { [ "$(id -u "$user")" = 0 ]; }

# Whether a line of authorized_keys contains one of the keys; comments do not count.
holds='
function holds(blobs,  names, count, field, k) {
  if ($0 ~ /^[ \t]*(#|$)/) return 0
  count = split(blobs, names, " ")
  for (field = 2; field <= NF; field++)
    for (k = 1; k <= count; k++)
      if ($field == names[k]) return 1
  return 0
}
'
# Prints the lines of our keys, and only the number of other lines.
list=$holds'
holds(ENVIRON["BG_BLOB"]) { print "fact line " $0; next }
holds(ENVIRON["BG_OLD"]) { print "fact old " $0; next }
/^[ \t]*(#|$)/ { next }
{ others++; if (index($0, ENVIRON["BG_GATE"])) gated++ }
END { print "fact others " others + 0; print "fact gated " gated + 0 }
'
# Replaces the first line of the key with the new one. A probing line is appended and keeps lines with a source:
# sshd skips those for a client with another address.
edit=$holds'
holds(ENVIRON["BG_BLOB"]) {
  if (ENVIRON["BG_LINE"] != "" && !done) { print ENVIRON["BG_LINE"]; done = 1 }
  else if (ENVIRON["BG_PROBE"] != "" && index($0, "from=\"")) print
  next
}
holds(ENVIRON["BG_DROP"]) { next }
{ print }
END {
  if (ENVIRON["BG_LINE"] != "" && !done) print ENVIRON["BG_LINE"]
  if (ENVIRON["BG_PROBE"] != "") print ENVIRON["BG_PROBE"]
}
'
reading='
[ -e "$BG_HOME/.ssh/authorized_keys" ] || exit 0
exec awk "$BG_AWK" "$BG_HOME/.ssh/authorized_keys"
'
# The file may be a symbolic link, as for root on Proxmox. Then its destination is replaced, atomically and with the
# same mode.
writing='
set -eu
umask 077
[ -d "$BG_HOME/.ssh" ] || mkdir "$BG_HOME/.ssh"
file=$(readlink -f "$BG_HOME/.ssh/authorized_keys")
new=$file.breakglass-new
was=/dev/null
rm -f "$new"
if [ -e "$file" ]; then
  was=$file
  cp -p "$file" "$new"
fi
awk "$BG_AWK" "$was" >"$new"
if cmp -s "$was" "$new"; then
  rm -f "$new"
  exit 0
fi
sync "$new" 2>/dev/null || :
mv -f "$new" "$file"
'
# as_owner AWK SH   runs SH as the owner of the file, so that no symbolic link in its home can mislead root.
as_owner() {
  home=$( (getent passwd "$user" || grep "^$user:" /etc/passwd) | cut -d: -f6)
  BG_AWK=$1 BG_HOME=$home BG_LINE=$line BG_PROBE=$probe BG_BLOB=$blob BG_OLD=$old BG_DROP=$drop
  BG_GATE=/usr/local/sbin/breakglass-gate
  export BG_AWK BG_HOME BG_LINE BG_PROBE BG_BLOB BG_OLD BG_DROP BG_GATE
  cd /
  if [ "$(id -u "$user")" = "$(id -u)" ]; then sh -c "$2"; else su -s /bin/sh "$user" -c "$2"; fi
}
list_keys() { as_owner "$list" "$reading"; }
# none others|gated   whether there is no other line of that kind; a missing file has none.
none() { ! list_keys | grep -q "^fact $1 [1-9]"; }
authorize() {
  as_owner "$edit" "$writing" || fail "the authorized_keys of $user cannot be written; see above"
}
host_keys() {
  for key in /etc/ssh/ssh_host_*_key.pub; do
    [ -e "$key" ] && fact hostkey "$(cut -d' ' -f1,2 "$key")"
  done
  :
}

main() {
  case $action in
    inspect) ;;
    apply) apply ;;
    remove) remove ;;
  esac
  inspect
  fact end
}
