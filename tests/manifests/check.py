"""Builds the manifests and checks them strictly against the API's schemas.

To show that the schemas detect typing errors, every field of every document is misspelt once, and each time the
document must be refused. Documents without a schema are listed.
"""

import copy
import subprocess
import sys
import time
from pathlib import Path

import kubernetes_validate as api
import yaml

ROOT = Path(__file__).resolve().parents[2] / "deploy/kubernetes"
KUBECTL = Path(sys.executable).parent / "kubectl"
# The oldest version with every field in use, and the newest.
VERSIONS = ["1.30", "1.37"]
# Custom resources, whose schemas come with their controllers.
UNCHECKED = {"external-secrets.io/v1", "traefik.io/v1alpha1"}
# Field names below these are the user's own, as below a Service's selector.
FREE = {"labels", "annotations", "matchLabels", "data", "requests", "limits"}

passed = 0
failures = []


def check(holds, what):
    global passed
    if holds:
        passed += 1
    else:
        failures.append(what)


def build(directory):
    command = [KUBECTL, "kustomize", ROOT / directory]
    built = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    check(built.stderr == "", f"{directory}: kustomize printed {built.stderr}")
    return list(yaml.safe_load_all(built.stdout))


def name(document):
    return f"{document['kind']}/{document['metadata']['name']}"


def refusal(document, version):
    """The schema's reason to refuse it, or None."""
    try:
        api.validate(document, version, strict=True)
    except api.ValidationError as error:
        return error.message
    return None


def fields(node, path=()):
    """The path of every field whose name is the API's."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from fields(item, (*path, index))
    elif isinstance(node, dict):
        for key, value in node.items():
            yield (*path, key)
            if key not in FREE and not is_labels(key, value):
                yield from fields(value, (*path, key))


def is_labels(key, value):
    return key == "selector" and "matchLabels" not in value


def misspelt(document, path):
    wrong = copy.deepcopy(document)
    node = wrong
    for step in path[:-1]:
        node = node[step]
    node[path[-1] + "x"] = node.pop(path[-1])
    return wrong


def check_schemas(directory, documents):
    for document in documents:
        if document["apiVersion"] in UNCHECKED:
            print(f"  not checked, its schema is not the API's: {directory} {name(document)}")
            continue
        for version in VERSIONS:
            why = refusal(document, version)
            check(why is None, f"{directory} {name(document)}, {version}: {why}")


def check_typing_errors(documents):
    """Misspells each field in turn, except apiVersion and kind, which select the schema."""
    count = 0
    for document in documents:
        if document["apiVersion"] in UNCHECKED:
            continue
        for path in fields(document):
            if path in {("apiVersion",), ("kind",)}:
                continue
            count += 1
            refused = refusal(misspelt(document, path), VERSIONS[-1])
            check(refused, f"{name(document)}: {'.'.join(map(str, path))} misspelt is accepted")
    return count


def one(documents, kind):
    return next(document for document in documents if document["kind"] == kind)


def check_promises(directory, documents):
    """Properties beyond the schemas: which container gets which secret, and its rights."""
    deployment = one(documents, "Deployment")["spec"]
    pod = deployment["template"]["spec"]
    server, runner = pod["containers"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = [{mount["name"] for mount in container["volumeMounts"]} for container in (server, runner)]

    def secrets(of):
        return {volumes[volume]["secret"]["secretName"] for volume in of if "secret" in volumes[volume]}

    def promise(holds, what):
        check(holds, f"{directory}: {what}")

    promise(deployment["replicas"] == 1 and deployment["strategy"]["type"] == "Recreate", "two servers could write")
    promise(mounts[0] & mounts[1] == {"sockets"}, "the containers share more than the sockets")
    promise("emptyDir" in volumes["sockets"], "the sockets survive the pod")
    promise(secrets(mounts[0]) == {"breakglass-server"}, "the server has other secrets than its own")
    promise(secrets(mounts[1]) == {"breakglass-runner"}, "the runner has other secrets than its own")
    promise(pod["automountServiceAccountToken"] is False, "the pod has a token of the cluster's")
    promise(pod["enableServiceLinks"] is False, "the cluster sets variables that look like settings")
    for container in (server, runner):
        rights = container["securityContext"]
        promise(rights["capabilities"] == {"drop": ["ALL"]}, f"{container['name']} has capabilities")
        promise(rights["readOnlyRootFilesystem"], f"{container['name']} can write its root")
        promise(not rights["allowPrivilegeEscalation"], f"{container['name']} can gain privileges")
        promise(rights["runAsNonRoot"] and rights["runAsUser"], f"{container['name']} may be root")
        promise("memory" in container["resources"]["limits"], f"{container['name']} has no memory limit")
        promise("env" not in container and "envFrom" not in container, f"{container['name']} has variables")
    uids = [container["securityContext"]["runAsUser"] for container in (server, runner)]
    promise(uids[0] != uids[1], "both have one account")
    promise(f"--peer-uid={uids[0]}" in runner["args"], "the runner does not know the server's uid")
    config = one(documents, "ConfigMap")["data"]["config.toml"]
    promise(f"runner_uid = {uids[1]}\n" in config, "the server does not know the runner's uid")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        path = server[probe]["httpGet"]["path"]
        promise(path == "/health", f"{probe} uses {path}, which fails in an incident")
    labels = deployment["template"]["metadata"]["labels"]
    selector = one(documents, "Service")["spec"]["selector"]
    promise(selector.items() <= labels.items(), "the service does not find the pod")
    policy = one(documents, "NetworkPolicy")["spec"]
    promise(set(policy["policyTypes"]) == {"Ingress", "Egress"}, "one direction is unrestricted")
    peers = [peer for rule in policy["egress"] for peer in rule["to"]]
    promise(all(set(peer) == {"ipBlock"} for peer in peers), "an outbound peer is not an address")
    for rule in policy["egress"]:
        ports = {(port["protocol"], port["port"]) for port in rule.get("ports", [])}
        promise(ports in ({("TCP", 22)}, {("TCP", 443)}), f"an outbound rule has the ports {ports or 'all'}")
    shared = {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & pod.keys()
    promise(not shared, f"the agent shares more than the pod's network: {shared}")
    for address in ("guest", "host"):
        line = next(line for line in config.splitlines() if line.startswith(f"{address} = "))
        ip = line.split('"')[1]
        promise({"ipBlock": {"cidr": f"{ip}/32"}} in peers, f"connections to the {address} {ip} are not allowed")


def main():
    began = time.monotonic()
    base, example = build("base"), build("overlays/example")
    for directory, documents in (("base", base), ("overlays/example", example)):
        check_schemas(directory, documents)
        check_promises(directory, documents)
    count = check_typing_errors(example)
    for failure in failures:
        print(f"manifests: {failure}", file=sys.stderr)
    print(f"  {len(base)} and {len(example)} documents; {count} misspelt fields tried")
    print(f"manifests: {passed} passed, {len(failures)} failed in {time.monotonic() - began:.1f} s")
    return 1 if failures else 0


sys.exit(main())
