# The host: the gate, its policy and the key's line. Additional parameters: sha256 (empty: the gate is not changed),
# driver, guest (as a value of the policy; empty: the policy is not changed).
gate=/usr/local/sbin/breakglass-gate
etc=/etc/breakglass
policy=$etc/gate.toml
sum() { sha256sum "$1" | cut -d' ' -f1; }

inspect() {
  if account; then
    fact account "$user"
    list_keys
  fi
  if [ -e "$gate" ]; then fact gate "$(sum "$gate")"; fi
  if [ -e "$policy" ]; then
    fact policy "$(sed -n 's/^[[:space:]]*guest[[:space:]]*=[[:space:]]*"\{0,1\}\([A-Za-z0-9._-]*\).*/\1/p' "$policy")"
  fi
  host_keys
}

apply() {
  account || fail "there is no account $user here; correct the target's host.user"
  write_policy
  install_gate
  [ -x "$gate" ] || fail "there is no gate here, and none was sent"
  "$gate" --check >/dev/null || fail "the gate refuses its policy; fix what it names above, then enroll again"
  authorize
}

# An existing policy is the operator's and is not changed.
write_policy() {
  [ -d "$etc" ] || mkdir "$etc"
  if [ -e "$policy" ] || [ -z "$guest" ]; then return 0; fi
  rm -f "$policy.new"
  printf 'driver = "%s"\nguest = %s\n' "$driver" "$guest" >"$policy.new"
  sync "$policy.new" 2>/dev/null || :
  mv -f "$policy.new" "$policy"
}

# The new file must have the expected hash and run on this machine before it replaces the gate.
install_gate() {
  [ -n "$sha256" ] || return 0
  if [ -e "$gate" ] && [ "$(sum "$gate")" = "$sha256" ]; then rm -f "$gate.new"; return 0; fi
  [ -e "$gate.new" ] || fail "the gate was not sent; copy it to $gate.new first"
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

# Gate and policy are removed with the last key that uses them; the gate's data and log stay.
remove() {
  account || return 0
  authorize
  none gated || return 0
  rm -f "$gate" "$gate.new" "$policy" "$policy.new"
  rmdir "$etc" 2>/dev/null || :
}

