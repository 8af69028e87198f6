# The host: the gate, its policy and the key's line. More parameters: sha256 (empty: the gate stays as
# it is), driver, guest (as the policy has it; empty: the policy stays as it is).
gate=/usr/local/sbin/breakglass-gate
etc=/etc/breakglass
policy=$etc/gate.toml
sum() { sha256sum "$1" | cut -d' ' -f1; }

look() {
  if account; then
    fact account "$user"
    look_keys
  fi
  if [ -e "$gate" ]; then fact gate "$(sum "$gate")"; fi
  if [ -e "$policy" ]; then
    fact policy "$(sed -n 's/^[[:space:]]*guest[[:space:]]*=[[:space:]]*"\{0,1\}\([A-Za-z0-9._-]*\).*/\1/p' "$policy")"
  fi
  host_keys
}

put() {
  account || fail "there is no account $user here; correct the target's host.user"
  write_policy
  install_gate
  [ -x "$gate" ] || fail "there is no gate here, and none was sent"
  "$gate" --check >/dev/null || fail "the gate refuses its policy; mend what it names above, then enroll again"
  authorize
}

# A policy that is there is the operator's and stays.
write_policy() {
  [ -d "$etc" ] || mkdir "$etc"
  if [ -e "$policy" ] || [ -z "$guest" ]; then return 0; fi
  rm -f "$policy.new"
  printf 'driver = "%s"\nguest = %s\n' "$driver" "$guest" >"$policy.new"
  sync "$policy.new" 2>/dev/null || :
  mv -f "$policy.new" "$policy"
}

# What was sent has to be what was meant, and to run on this machine, before it takes the gate's place.
install_gate() {
  [ -n "$sha256" ] || return 0
  if [ -e "$gate" ] && [ "$(sum "$gate")" = "$sha256" ]; then rm -f "$gate.new"; return 0; fi
  [ -e "$gate.new" ] || fail "the gate was not sent; put it to $gate.new first"
  found=$(sum "$gate.new")
  if [ "$found" != "$sha256" ]; then
    rm -f "$gate.new"
    fail "the gate that arrived is not the one that was sent (SHA-256 $found, not $sha256); enroll again"
  fi
  chown 0:0 "$gate.new"
  chmod 0755 "$gate.new"
  if ! said=$("$gate.new" --check 2>&1); then
    rm -f "$gate.new"
    fail "the gate does not run here, or refuses its policy: $said"
  fi
  sync "$gate.new" 2>/dev/null || :
  mv -f "$gate.new" "$gate"
}

# Gate and policy go with the last key that they serve; what the gate recorded stays.
remove() {
  account || return 0
  authorize
  none gated || return 0
  rm -f "$gate" "$gate.new" "$policy" "$policy.new"
  rmdir "$etc" 2>/dev/null || :
}

