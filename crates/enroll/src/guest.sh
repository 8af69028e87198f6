# The guest: an account with a home, sudo and the key's line. Additional parameter: rule, for sudoers.
sudoers=/etc/sudoers.d/breakglass
sudoers_text() {
  printf '# Written by breakglass enroll: who repairs this machine becomes root without a password.\n'
  printf '%s\n' "$rule"
}
# ours: exactly our text; holds: another text with the same rule; other: another text.
sudoers_state() {
  if ! [ -e "$sudoers" ]; then echo absent
  elif sudoers_text | cmp -s - "$sudoers"; then echo ours
  elif grep -qxF "$rule" "$sudoers"; then echo holds
  else echo other; fi
}

inspect() {
  if account; then
    if is_root; then fact account root; else fact account "$user"; fi
    list_keys
  fi
  fact sudoers "$(sudoers_state)"
  host_keys
}

apply() {
  account || create_account
  is_root || grant
  authorize
}

create_account() {
  command -v useradd >/dev/null || fail "useradd is missing here; create the account $user with a home and a shell by hand, then enroll again"
  shell=/bin/bash
  [ -x "$shell" ] || shell=/bin/sh
  # No password works for it. A locked password (!) would also refuse keys if sshd runs without PAM.
  useradd --system --create-home --shell "$shell" --password '*' "$user" || fail "useradd could not create $user; see above"
}

# sudo ignores names with a dot, so the file has no effect until it is renamed.
grant() {
  [ "$(sudoers_state)" = absent ] || return 0
  command -v visudo >/dev/null || fail "visudo is missing here; install the package sudo, then enroll again"
  rm -f "$sudoers.new"
  sudoers_text >"$sudoers.new"
  chmod 0440 "$sudoers.new"
  if ! said=$(visudo -cf "$sudoers.new" 2>&1); then
    rm -f "$sudoers.new"
    fail "visudo refuses the rule for $user, so it was not written: $said"
  fi
  sync "$sudoers.new" 2>/dev/null || :
  mv -f "$sudoers.new" "$sudoers"
}

# The account and its home stay. sudo stays if another key opens the account.
remove() {
  account || return 0
  authorize
  if none others && [ "$(sudoers_state)" = ours ]; then rm -f "$sudoers"; fi
  rm -f "$sudoers.new"
}

