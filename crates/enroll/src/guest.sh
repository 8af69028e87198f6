# The guest: an account with a home, sudo and the key's line. More parameters: rule, of sudoers.
sudoers=/etc/sudoers.d/breakglass
sudoers_text() {
  printf '# Written by breakglass enroll: who repairs this machine becomes root without a password.\n'
  printf '%s\n' "$rule"
}
# ours: word for word; holds: has the rule as well; other: somebody else's.
sudoers_state() {
  if ! [ -e "$sudoers" ]; then echo absent
  elif sudoers_text | cmp -s - "$sudoers"; then echo ours
  elif grep -qxF "$rule" "$sudoers"; then echo holds
  else echo other; fi
}

look() {
  if account; then
    if is_root; then fact account root; else fact account "$user"; fi
    look_keys
  fi
  fact sudoers "$(sudoers_state)"
  host_keys
}

put() {
  account || make_account
  is_root || grant
  authorize
}

make_account() {
  command -v useradd >/dev/null || fail "useradd is missing here; make the account $user with a home and a shell by hand, then enroll again"
  shell=/bin/bash
  [ -x "$shell" ] || shell=/bin/sh
  # No password opens it; a locked one (!) would keep keys out as well where sshd does without PAM.
  useradd --system --create-home --shell "$shell" --password '*' "$user" || fail "useradd could not make $user; see above"
}

# The name with a dot is one that sudo passes over, so the file counts only once it is moved.
grant() {
  [ "$(sudoers_state)" = absent ] || return 0
  command -v visudo >/dev/null || fail "there is no visudo here; install the package sudo, then enroll again"
  rm -f "$sudoers.new"
  sudoers_text >"$sudoers.new"
  chmod 0440 "$sudoers.new"
  if ! said=$(visudo -cf "$sudoers.new" 2>&1); then
    rm -f "$sudoers.new"
    fail "visudo refuses the rule for $user, so it does not count: $said"
  fi
  sync "$sudoers.new" 2>/dev/null || :
  mv -f "$sudoers.new" "$sudoers"
}

# The account stays, with what is in its home; sudo stays where another key still opens it.
remove() {
  account || return 0
  authorize
  if none others && [ "$(sudoers_state)" = ours ]; then rm -f "$sudoers"; fi
  rm -f "$sudoers.new"
}

