"""Starts a server with a token on a simulated machine, and runs schemathesis on its whole interface.

Afterwards the server must still answer, must not have panicked, and its log must pass the audit. A wrong
document is tested as well, to show that the checks detect it.
"""

import contextlib
import json
import os
import random
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "target/debug"
TOOLS = Path(sys.executable).parent
LIMIT = 60
LIES = ["/api/me", "/api/targets", "/health"]


@contextlib.contextmanager
def running(command, **options):
    """A process that ends with the block."""
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port():
    """A free port below the range that the system assigns itself."""
    while True:
        port = random.randrange(12_000, 20_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def machine(process):
    """Addresses and host keys of guest and host, as the simulation prints them."""
    lines = [process.stdout.readline().split(" ", 2) for _ in range(2)]
    return {name: (address.rsplit(":", 1)[1], key.strip()) for name, address, key in lines}


def configure(directory, port, ends):
    known = [f"[127.0.0.1]:{port} {key}\n" for port, key in ends.values()]
    endpoint = lambda name, user: f'{{ host = "127.0.0.1", port = {ends[name][0]}, user = "{user}" }}'
    config = f"""
listen = "127.0.0.1:{port}"
data_dir = "{directory}/data"
[auth]
token_file = "{directory}/token"
[ssh]
key_file = "{directory}/key"
known_hosts = "{directory}/known_hosts"
[agent]
command = "{BUILT}/breakglass"
args = ["drill-agent"]
[[targets]]
name = "devvm"
guest = {endpoint("guest", "breakglass")}
host = {endpoint("host", "root")}
"""
    (directory / "known_hosts").write_text("".join(known))
    (directory / "config.toml").write_text(config)


class Server:
    def __init__(self, port, token):
        self.url, self.token = f"http://127.0.0.1:{port}", token

    def headers(self):
        return {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, self.headers())
        with urllib.request.urlopen(request, timeout=LIMIT) as answer:
            return answer.read()

    def question(self):
        """Makes the agent ask for approval; returns the incident and the question."""
        incident = json.loads(self.ask("/api/incidents", {"target": "devvm"}))["incident"]
        of = f"/api/incidents/{incident}"
        self.ask(f"{of}/autonomy", {"autonomy": "approve-mutations"})
        self.ask(f"{of}/prompts", {"text": "Fix it."})
        request = urllib.request.Request(f"{self.url}{of}/events", None, self.headers())
        with urllib.request.urlopen(request, timeout=LIMIT) as stream:
            for line in stream:
                event = json.loads(line[5:]) if line.startswith(b"data:") else {}
                if event.get("kind") == "approval_requested":
                    return incident, event["approval"]
        raise RuntimeError("the agent asked nothing")

    def wait(self):
        deadline = time.monotonic() + LIMIT
        while True:
            try:
                return self.ask("/health")
            except urllib.error.URLError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def panics(log):
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in lines if "panicked" in line.get("message", "")]


def lie(document):
    """The document with a wrong type, a wrong status, and a wrong media type."""
    document["components"]["schemas"]["Me"]["properties"]["version"]["type"] = "integer"
    answers = document["paths"]["/api/targets"]["get"]["responses"]
    answers["203"] = answers.pop("200")
    content = document["paths"]["/health"]["get"]["responses"]["200"]["content"]
    content["application/json"] = content.pop("text/plain")
    return document


class Schemathesis:
    def __init__(self, directory, server, variables):
        self.directory, self.server, self.variables = directory, server, variables

    def command(self, document, *options):
        config = ROOT / "tests/schema/schemathesis.toml"
        tried = ["run", self.directory / document, "--url", self.server.url]
        return [TOOLS / "schemathesis", "--config-file", config, *tried, *options]

    def run(self, *arguments, **options):
        environment = {**os.environ, **self.variables}
        return subprocess.run(
            self.command(*arguments), cwd=self.directory, env=environment, **options
        )

    def finds_lies(self):
        paths = [option for path in LIES for option in ("--include-path", path)]
        found = self.run("lies.json", *paths, "--phases", "coverage", capture_output=True, text=True)
        missed = [path for path in LIES if f" GET {path} " not in found.stdout]
        for path in missed:
            print(f"schema: the wrong description of {path} was not detected\n{found.stdout}")
        return not missed


def serve(directory, port, token, stack):
    """Starts a server on a simulated machine until `stack` closes; returns its log file."""
    (directory / "token").write_text(token)
    os.chmod(directory / "token", 0o400)
    keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / "key"]
    subprocess.run(keygen, check=True)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    simulation = [BUILT / "examples/machine", directory / "key.pub"]
    configure(directory, port, machine(stack.enter_context(running(simulation, **pipes))))
    log = directory / "log"
    outputs = {"stdout": subprocess.DEVNULL, "stderr": stack.enter_context(log.open("w"))}
    command = [BUILT / "breakglass", "serve", "--config", directory / "config.toml"]
    stack.enter_context(running(command, **outputs))
    return log


def attempt(directory, server, token):
    """Whether the real document passed and the wrong one did not."""
    document = server.ask("/api/openapi.json")
    (directory / "openapi.json").write_bytes(document)
    (directory / "lies.json").write_text(json.dumps(lie(json.loads(document))))
    incident, approval = server.question()
    variables = {"TOKEN": token, "INCIDENT": incident, "APPROVAL": approval}
    variables = {f"BREAKGLASS_SCHEMA_{name}": value for name, value in variables.items()}
    schemathesis = Schemathesis(directory, server, variables)
    finds = schemathesis.finds_lies()
    return schemathesis.run("openapi.json", *sys.argv[1:]).returncode == 0 and finds


def main():
    with tempfile.TemporaryDirectory(prefix="breakglass-schema-") as name:
        directory, port, token = Path(name), free_port(), secrets.token_hex(32)
        with contextlib.ExitStack() as stack:
            log = serve(directory, port, token, stack)
            server = Server(port, token)
            server.wait()
            server.ask("/api/targets/devvm/verbs/status?wait=true", {})
            holds = attempt(directory, server, token)
            server.wait()
        fallen = panics(log)
        audit = [BUILT / "breakglass", "audit", "verify", "--data-dir", directory / "data"]
        audited = subprocess.run(audit, stdout=subprocess.DEVNULL).returncode == 0
    for line in fallen:
        print(line)
    passed = holds and audited and not fallen
    print("schema: passed; the wrong document was detected, the audit succeeded" if passed else "schema: failed")
    return 0 if passed else 1


sys.exit(main())
