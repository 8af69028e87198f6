#!/usr/bin/env python3
"""Prints the software bill of materials of one package as CycloneDX 1.6 JSON.

  scripts/sbom.py PACKAGE TARGET-TRIPLE

It lists the crates that are linked into the program (no build scripts, no tests), by `cargo metadata`
and Cargo.lock. SQLite's C source is a part of libsqlite3-sys, and the page's one library, Svelte, is
listed in web/package-lock.json. The same commit gives the same output.
"""

import datetime
import json
import os
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(*command):
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def linked(metadata, root):
    """The nodes of the graph that end up in the program, by package id."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    procedural = {p["id"] for p in metadata["packages"] if any("proc-macro" in t["kind"] for t in p["targets"])}
    found, waiting = {}, [root]
    while waiting:
        package = waiting.pop()
        if package in found:
            continue
        normal = [d["pkg"] for d in nodes[package]["deps"] if any(k["kind"] is None for k in d["dep_kinds"])]
        found[package] = sorted(set(normal) - procedural)
        waiting += found[package]
    return found


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksums):
    local = package["source"] is None
    result = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "scope": "required",
    }
    if not local:
        result["purl"] = reference(package)
    if package.get("license"):
        # Cargo still takes the old form "MIT/Apache-2.0".
        result["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        result["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("repository"):
        result["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    if local and "third_party" in package["manifest_path"]:
        result["pedigree"] = {"notes": "patched; the difference is a file beside it in third_party"}
    return result


def main():
    name, triple = sys.argv[1:]
    metadata = json.loads(run("cargo", "metadata", "--format-version=1", "--locked", f"--filter-platform={triple}"))
    packages = {package["id"]: package for package in metadata["packages"]}
    root = next(p["id"] for p in metadata["packages"] if p["name"] == name and p["id"] in metadata["workspace_members"])
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(p["name"], p["version"]): p.get("checksum") for p in lock["package"]}
    graph = linked(metadata, root)

    components = [component(packages[package], checksums) for package in graph if package != root]
    components.sort(key=lambda it: it["bom-ref"])
    edges = [
        {"ref": reference(packages[package]), "dependsOn": sorted(reference(packages[it]) for it in needs)}
        for package, needs in graph.items()
    ]
    edges.sort(key=lambda it: it["ref"])
    program = component(packages[root], checksums) | {"type": "application"}
    del program["scope"]
    body = {"components": components, "dependencies": edges}
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or run("git", "log", "-1", "--format=%ct"))
    moment = datetime.datetime.fromtimestamp(epoch, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([program, triple, moment, body], sort_keys=True))
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": moment,
            "component": program,
            "properties": [{"name": "breakglass:target", "value": triple}],
        },
        **body,
    }
    print(json.dumps(document, indent=1))


main()
