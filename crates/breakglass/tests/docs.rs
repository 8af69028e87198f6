//! The documents against the tree: what they name exists, and what exists is named.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::fs;
use std::path::{Path, PathBuf};

use breakglass_server::http::PROTECTED;

/// How a row says that nothing proves it yet.
const ABSENT: &str = "not in this version";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The cells of each row of the document's tables, without heads and rules.
fn rows(document: &str) -> Vec<Vec<&str>> {
    let lines: Vec<_> = document.lines().collect();
    let is_head = |index: usize| {
        lines
            .get(index + 1)
            .is_some_and(|next| next.starts_with("| ---"))
    };
    let body = lines
        .iter()
        .enumerate()
        .filter(|(index, line)| !is_head(*index) && !line.starts_with("| ---"));
    body.filter_map(|(_, line)| cells(line)).collect()
}

fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
    Some(inner.split(" | ").map(str::trim).collect())
}

/// Whether `crate::path::test` is a test of the crate's sources or of its `tests` folder.
fn is_rust_test(name: &str) -> bool {
    let parts: Vec<&str> = name.split("::").collect();
    let [package, modules @ .., test] = parts.as_slice() else {
        return false;
    };
    let folder = match *package {
        "breakglass" => "crates/server".to_owned(),
        other => format!("crates/{}", other.trim_start_matches("breakglass_")),
    };
    let inner = modules.join("/");
    let outer = inner.strip_suffix("/tests").unwrap_or("lib");
    let places = [
        format!("{folder}/src/{inner}.rs"),
        format!("{folder}/src/{inner}/mod.rs"),
        format!("{folder}/src/{outer}.rs"),
        format!("{folder}/src/{outer}/mod.rs"),
        format!("{folder}/tests/{inner}.rs"),
    ];
    places
        .iter()
        .filter_map(|place| fs::read_to_string(root().join(place)).ok())
        .any(|source| {
            let Some((before, _)) = source.split_once(&format!("fn {test}(")) else {
                return false;
            };
            let attributes = before.rsplit("\n\n").next().unwrap_or(before);
            attributes.contains("#[test]") || attributes.contains("#[tokio::test")
        })
}

/// Whether `file › title` is a test of the page.
fn is_page_test(name: &str) -> bool {
    let Some((file, title)) = name.split_once(" › ") else {
        return false;
    };
    fs::read_to_string(root().join(file)).is_ok_and(|it| it.contains(&format!("test('{title}'")))
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let document = read("docs/threat-model.md");
    let proofs = rows(&document)
        .into_iter()
        .filter_map(|cells| cells.get(2).copied());
    let named: Vec<&str> = proofs
        .flat_map(code)
        .filter(|name| !name.starts_with("just "))
        .collect();
    let missing: Vec<&&str> = named
        .iter()
        .filter(|name| !is_rust_test(name) && !is_page_test(name))
        .collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
    assert!(
        named.len() > 50,
        "only {} tests were found in the table",
        named.len()
    );
}

#[test]
fn every_threat_has_a_proof_or_says_that_it_has_none() {
    let document = read("docs/threat-model.md");
    for cells in rows(&document) {
        let [threat, answer, proof, remains] = cells.as_slice() else {
            panic!("a row has {} cells instead of 4: {cells:?}", cells.len());
        };
        assert!(
            ![threat, answer, remains].iter().any(|cell| cell.is_empty()),
            "{threat}: empty cell"
        );
        assert!(
            proof.contains('`') || proof.contains(ABSENT),
            "{threat}: neither proved nor said"
        );
    }
}

#[test]
fn the_api_document_names_every_route() {
    let document = read("docs/api.md");
    let named: Vec<String> = rows(&document)
        .iter()
        .flat_map(|cells| code(cells[0]))
        .map(str::to_owned)
        .collect();
    let open = [("GET", "/health"), ("POST", "/api/login")];
    for (method, path) in PROTECTED.iter().chain(&open) {
        let route = format!("{method} {path}");
        assert!(
            path.ends_with("no-such-thing") || named.contains(&route),
            "{route} is not in it"
        );
    }
}

#[test]
fn the_api_document_names_every_kind_of_event() {
    let document = read("docs/api.md");
    let named: Vec<&str> = code(&document).collect();
    let exported = read("web/src/lib/api/EventBody.ts");
    let kinds = exported
        .split("\"kind\": \"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    let missing: Vec<&str> = kinds.filter(|kind| !named.contains(kind)).collect();
    assert!(
        missing.is_empty(),
        "no such kinds of event in it: {missing:?}"
    );
}

/// The paths of all documents.
fn documents() -> Vec<String> {
    let within = |folder: &str| {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().display().to_string());
        let folder = folder.to_owned();
        names
            .filter(|name| name.ends_with(".md"))
            .map(move |name| format!("{folder}/{name}"))
    };
    let top = ["README.md", "ARCHITECTURE.md", "CONTEXT.md", "CHANGELOG.md"].map(str::to_owned);
    within("docs/adr")
        .chain(within("docs"))
        .chain(top)
        .collect()
}

/// The anchors of a document's headings, as they are made of their words.
fn anchors(document: &str) -> Vec<String> {
    let headings = document.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    for name in documents() {
        let folder = root().join(&name).parent().unwrap().to_owned();
        let document = read(&name);
        let links = document
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with("http")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => root().join(&name),
                _ => folder.join(path),
            };
            assert!(
                target.exists(),
                "{name} links to {link}, which is not there"
            );
            if !anchor.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let found = anchors(&text).iter().any(|it| it == anchor);
                assert!(found, "{name} links to {link}, which has no such heading");
            }
        }
    }
}
