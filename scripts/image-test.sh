#!/usr/bin/env bash
# image-test.sh   builds both images and runs them together as in a pod: no capabilities, a read-only root,
# two accounts, and one shared directory.
#
#   BIN=FILE   the binary; default target/debug/breakglass
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/packages.sh
need buildah=buildah mmdebstrap=mmdebstrap podman=podman runc=runc /usr/lib/podman/netavark=netavark pgrep=procps curl=curl python3=python3 ssh-keygen=openssh-client
[ "$(id -u)" = 0 ] || { echo "image-test: containers with accounts of their own need root" >&2; exit 1; }
export BIN=${BIN:-target/debug/breakglass}
model=${MODEL:-target/debug/examples/model}

# In memory if there is space: the files are written once and discarded.
free=$(df --output=avail -k /dev/shm 2>/dev/null | tail -1 || echo 0)
[ "$free" -lt 3000000 ] || export TMPDIR=/dev/shm
work=$(mktemp -d "${TMPDIR:-/tmp}/breakglass-images.XXXXXX")
chmod 0755 "$work"
export TMPDIR=$work CONTAINERS_CONF=$work/containers.conf
cat >"$CONTAINERS_CONF" <<TOML
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
[network]
network_backend = "netavark"
TOML
pod() { podman --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"; }
running=()
model_pid=
clean_up() {
  local status=$?
  if [ "$status" != 0 ]; then
    for name in "${running[@]}"; do echo "--- $name"; pod logs --tail 40 "$name" || true; done >&2
  fi
  [ ${#running[@]} = 0 ] || pod rm --force --time 2 "${running[@]}" >/dev/null || true
  [ -z "$model_pid" ] || kill "$model_pid" 2>/dev/null || true
  # Wait for each container's monitor, which still writes while it cleans up.
  local end=$((SECONDS + 20))
  while pgrep -f -- "--root $work/storage" >/dev/null && [ $SECONDS -lt $end ]; do sleep 0.1; done
  rm -rf "$work"
  exit "$status"
}
trap clean_up EXIT

fail() { echo "image-test: $*" >&2; exit 1; }
passed=0
proven() { passed=$((passed + 1)); echo "  ok: $*"; }
json() { python3 -c 'import json,sys; print(eval(sys.argv[1], {"it": json.load(sys.stdin)}))' "$1"; }
until_true() { # what, seconds, command…
  local what=$1 end=$((SECONDS + $2)); shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || fail "$what did not happen in time"
    sleep 0.1
  done
}

STORAGE=$work/storage OUT='' scripts/image.sh

# Secrets of server and runner, each for one container; one directory is shared.
server=10001 runner=10002 shared=10003
mkdir "$work"/{server,runner,shared,config,data,home}
ssh-keygen -q -t ed25519 -N '' -C image-test -f "$work/key"
head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$work/server/api_token"
mv "$work/key" "$work/server/ssh_key"
model_key="sk-ant-$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')"
printf %s "$model_key" >"$work/runner/model_key"
token=$(cat "$work/server/api_token")
key_line=$(sed -n 2p "$work/server/ssh_key")

# The model's replies: run a command on the guest, search for secrets, try to escape, end the turn.
coproc rig { exec "$model"; }
model_pid=$rig_PID
exec 7<&"${rig[0]}" 8>&"${rig[1]}"
look='cat /secrets/* /proc/1/environ /proc/*/root/secrets/* 2>/dev/null; id -u; grep -h ^Cap /proc/self/status; touch /usr/made 2>&1'
escapes=$(cat scripts/image-escapes.sh)
python3 - "$(cat "$work/key.pub")" "$token" "$key_line" "$look" "$escapes" >&8 <<'PY'
import json, sys
guest, token, key, look, escapes = sys.argv[1:]
replies = [{"bash": "ssh devvm 'echo on the guest'"}, {"bash": look}, {"bash": escapes}, {"text": "All is well."}]
print(json.dumps({"replies": replies, "forbid": [token, key], "guest": guest}))
PY
read -r -t 60 scene <&7 || fail "the model server did not start"
url=$(json 'it["url"]' <<<"$scene")
guest_port=$(json 'it["guest"]["port"]' <<<"$scene")
json 'it["guest"]["known_hosts"]' <<<"$scene" >"$work/config/known_hosts"
# Below the range of ports that the system assigns itself.
port=$(python3 - <<'PY'
import contextlib, random, socket
port = None
while port is None:
    tried = random.randrange(12000, 20000)
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", tried))
        port = tried
print(port)
PY
)

# The pod's own configuration with other addresses; no test question, so that the agent gets every reply.
here="host = \"127.0.0.1\", port = $guest_port, user = \"root\""
sed -e "s/0\.0\.0\.0:8080/127.0.0.1:$port/" -e "s/host = \"192\.0\.2\.[0-9]*\", user = \"[a-z]*\"/$here/" \
  -e 's/^\[agent\]$/&\nautonomy = "autonomous"\nmodel_check_hours = 0/' deploy/kubernetes/base/config.toml >"$work/config/config.toml"
chmod 0444 "$work"/config/*
chmod 0400 "$work"/server/* "$work"/runner/*
chown -R $server:$server "$work/server" "$work/data"
chown -R $runner:$runner "$work/runner" "$work/home"
chown 0:$shared "$work/shared"
chmod 2770 "$work/shared"

start() { # name, image, uid, options and arguments…
  local name=$1 image=$2 uid=$3; shift 3
  running+=("$name")
  pod run --detach --pull never --name "$name" --network host --read-only --read-only-tmpfs=false \
    --cap-drop all --security-opt no-new-privileges \
    --user "$uid:$uid" --group-add $shared --tmpfs /tmp:rw,mode=1777,size=64m \
    --volume "$work/shared:/run/breakglass" "${mounts[@]}" "localhost/$image" "$@" >/dev/null
}
mounts=(--volume "$work/server:/secrets:ro" --volume "$work/config:/etc/breakglass:ro" --volume "$work/data:/var/lib/breakglass")
start server breakglass $server
mounts=(--volume "$work/runner:/secrets:ro" --volume "$work/home:/var/lib/breakglass")
start runner breakglass-runner $runner --listen /run/breakglass/runner.sock \
  --peer-uid $server --api-key-file /secrets/model_key --base-url "$url"

base=http://127.0.0.1:$port
call() { curl --silent --show-error --fail --max-time 60 --config "$work/curl" "$@"; }
printf 'header = "Authorization: Bearer %s"\n' "$token" >"$work/curl"
until_true "an answer of the server" 60 call "$base/health"
[ "$(call "$base/health")" = ok ] || fail "/health does not answer ok"
proven "the server's container answers /health"

pid_of() { pod inspect --format '{{.State.Pid}}' "$1"; }
for name in server runner; do
  pid=$(pid_of $name)
  [ -z "$(grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' "/proc/$pid/status" | grep -v '0000000000000000')" ] \
    || fail "the $name has capabilities"
  grep -q '^NoNewPrivs:.*1' "/proc/$pid/status" || fail "the $name could gain privileges"
  [ "$(awk '$5 == "/" { print substr($6, 1, 2) }' "/proc/$pid/mountinfo")" = ro ] \
    || fail "the $name's root can be written"
done
proven "both have no capabilities, cannot gain any, and cannot write to their root"
[ "$(awk '/^Uid/ { print $2 }' "/proc/$(pid_of server)/status")" = $server ] || fail "the server has the wrong uid"
[ "$(awk '/^Uid/ { print $2 }' "/proc/$(pid_of runner)/status")" = $runner ] || fail "the runner has the wrong uid"
for shell in bin/sh usr/bin/sh bin/bash usr/bin/busybox; do
  [ ! -e "/proc/$(pid_of server)/root/$shell" ] || fail "the server's image has a shell: $shell"
done
proven "each has its own account, and the server's image has no shell"

until_true "the runner's socket" 60 test -S "$work/shared/runner.sock"
incident=$(call -H 'Content-Type: application/json' -d '{"target": "devvm"}' "$base/api/incidents" | json 'it["incident"]')
call -H 'Content-Type: application/json' -d '{"text": "Look around."}' "$base/api/incidents/$incident/prompts" >/dev/null
# The whole line, because it may arrive in several pieces.
turn_ended() { grep -q '^data: .*"kind":"turn_ended".*"hash":"[0-9a-f]*"' "$work/events"; }
curl --silent --no-buffer --max-time 180 --config "$work/curl" "$base/api/incidents/$incident/events" >"$work/events" &
reader=$!
until_true "the turn's end" 180 turn_ended
kill $reader
wait $reader 2>/dev/null || true
sed -n 's/^data: //p' "$work/events" >"$work/frames"
ended=$(grep '"kind":"turn_ended"' "$work/frames")
[ "$(json 'it["outcome"]' <<<"$ended")" = done ] || fail "the turn failed: $ended"
grep -q 'All is well' "$work/frames" || fail "the model's text is not in the log"
proven "the real CLI runs a turn through the shared socket"
outputs=$(grep '"kind":"tool_finished"' "$work/frames")
grep -q '"output":"on the guest' <<<"$outputs" || fail "the guest was not reached: $outputs"
grep -q '"kind":"command_finished"' "$work/frames" || fail "the bastion did not record it"
proven "its ssh reaches the guest through the bastion, with the server's key"
for secret in "$token" "$key_line"; do
  ! grep -qF "$secret" "$work/frames" || fail "the agent could read a secret of the server's"
done
grep -q CapEff <<<"$outputs" && grep -q "$runner" <<<"$outputs" || fail "the agent does not have the runner's account: $outputs"
! grep -qE 'Cap(Prm|Eff|Bnd):[^C]*[1-9a-f]' <<<"$outputs" || fail "the agent has capabilities: $outputs"
grep -qiE 'touch: .*(read-only|permission)' <<<"$outputs" || fail "the agent can change its image: $outputs"
proven "the agent finds none of the server's secrets, has no capabilities and cannot change its image"
tried=$(grep -c '^try ' scripts/image-escapes.sh)
reached=$(grep -o 'REACHED: [^:]*' <<<"$outputs" || true)
[ -z "$reached" ] || fail "the agent escaped from its container: $reached"
refused=$(grep -o 'REFUSED: [^:]*' <<<"$outputs" | wc -l)
[ "$refused" = "$tried" ] || fail "only $refused of $tried escape attempts were refused: $outputs"
proven "all $refused attempts to escape from the runner's container are refused"

exec 8>&-
# The coprocess ends when both ends of its pipe are closed.
eval "exec ${rig[1]}>&-" 2>/dev/null || true
read -r -t 60 verdict <&7 || fail "the model server gave no verdict"
wait "$model_pid" || fail "the CLI misbehaved, or a secret got to the model"
model_pid=
[ "$(json 'it["keys"]' <<<"$verdict")" = "['$model_key']" ] || fail "the model received another key: $verdict"
server_pid=$(pid_of server)
! tr '\0' '\n' <"/proc/$server_pid/environ" | grep -qF "$model_key" || fail "the server has the model's key"
! grep -rqF "$model_key" "$work/server" "$work/data" "$work/config" || fail "the model's key is in the server's files"
! grep -rqF "$key_line" "$work/runner" "$work/home" "$work/shared" || fail "the SSH key is in the runner's files"
proven "only the runner has the model's key, only the server has the SSH key"

memory() { # of all processes of a container, in MiB
  local space pid sum=0 part
  space=$(readlink "/proc/$(pid_of "$1")/ns/pid")
  for pid in /proc/[0-9]*; do
    [ "$(readlink "$pid/ns/pid" 2>/dev/null)" = "$space" ] || continue
    part=$(awk '/^Pss:/ { print $2 }' "$pid/smaps_rollup" 2>/dev/null) && sum=$((sum + ${part:-0}))
  done
  echo "$((sum / 1024)) MiB"
}
echo "  memory after the turn: server $(memory server), runner with one CLI $(memory runner)"
pod stop --time 30 server runner >/dev/null
for name in server runner; do
  code=$(pod inspect --format '{{.State.ExitCode}}' "$name")
  [ "$code" = 0 ] || fail "the $name exited with $code on SIGTERM"
done
proven "both shut down cleanly and in time"
echo "images: $passed passed, 0 failed in $SECONDS s"
