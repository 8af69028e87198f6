//! The documents match the source tree: named things exist, and existing things are named.

use std::fs;
use std::path::{Path, PathBuf};

use breakglass_server::http::PROTECTED;

/// The marker in the threat model of a threat without a test.
const UNTESTED: &str = "- Not tested: ";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The text between backticks.
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

/// The folder of a package, by its name in Rust: `breakglass_gate` is in `crates/gate`.
fn package_folder(name: &str) -> Option<PathBuf> {
    let line = format!("name = \"{}\"", name.replace('_', "-"));
    let folders = fs::read_dir(root().join("crates")).unwrap();
    folders.map(|entry| entry.unwrap().path()).find(|folder| {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        manifest.lines().any(|it| it == line)
    })
}

/// Whether `crate::path::test` is a test of the crate's sources or of its `tests` folder.
fn is_rust_test(name: &str) -> bool {
    let parts: Vec<&str> = name.split("::").collect();
    let [package, modules @ .., test] = parts.as_slice() else {
        return false;
    };
    let Some(folder) = package_folder(package) else {
        return false;
    };
    let inner = modules.join("/");
    let outer = inner.strip_suffix("/tests").unwrap_or("lib");
    let places = [
        format!("src/{inner}.rs"),
        format!("src/{inner}/mod.rs"),
        format!("src/{outer}.rs"),
        format!("src/{outer}/mod.rs"),
        format!("tests/{inner}.rs"),
        format!("tests/{inner}/mod.rs"),
        format!("tests/it/{inner}.rs"),
        format!("tests/it/{inner}/mod.rs"),
    ];
    places
        .iter()
        .filter_map(|place| fs::read_to_string(folder.join(place)).ok())
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

/// The threats: title and text of each section of the third level.
fn threats(document: &str) -> impl Iterator<Item = (&str, &str)> {
    let sections = document.split("\n### ").skip(1);
    sections.map(|section| {
        let (title, text) = section.split_once('\n').unwrap_or((section, ""));
        (title, text.split("\n## ").next().unwrap_or(text))
    })
}

/// The evidence of a threat: what its list has between backticks.
fn evidence(text: &str) -> impl Iterator<Item = &str> {
    let items = text.lines().filter_map(|line| line.strip_prefix("- `"));
    items.filter_map(|item| item.strip_suffix('`'))
}

#[test]
fn every_test_named_in_the_threat_model_exists() {
    let document = read("docs/threat-model.md");
    let named: Vec<&str> = threats(&document)
        .flat_map(|(_, text)| evidence(text))
        .filter(|name| !name.starts_with("just "))
        .collect();
    let missing: Vec<&&str> = named
        .iter()
        .filter(|name| !is_rust_test(name) && !is_page_test(name))
        .collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
    assert!(named.len() > 50, "only {} tests were found", named.len());
}

#[test]
fn every_threat_has_a_mitigation_a_remaining_risk_and_evidence() {
    let document = read("docs/threat-model.md");
    for (title, text) in threats(&document) {
        for part in ["\n**Stopped by:** ", "\n**Remaining risk:** "] {
            assert!(text.contains(part), "{title}: no {part:?}");
        }
        assert!(
            evidence(text).next().is_some() || text.contains(UNTESTED),
            "{title}: neither evidence nor {UNTESTED:?}"
        );
    }
}

#[test]
fn index_of_decisions_is_complete() {
    let index = read("docs/adr/README.md");
    let decisions = documents();
    let decisions = decisions
        .iter()
        .filter_map(|name| name.strip_prefix("docs/adr/"));
    for file in decisions.filter(|file| *file != "README.md") {
        assert!(index.contains(&format!("]({file})")), "{file} is not in it");
        let number = file.split('-').next().unwrap_or(file);
        let heading = format!("# {}. ", number.trim_start_matches('0'));
        let text = read(&format!("docs/adr/{file}"));
        assert!(
            text.starts_with(&heading),
            "{file} has another number in its title"
        );
    }
}

#[test]
fn api_document_lists_every_route() {
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
fn api_document_lists_every_kind_of_event() {
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
    let top = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTEXT.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
    ]
    .map(str::to_owned);
    within("docs/adr")
        .chain(within("docs"))
        .chain(top)
        .collect()
}

/// The anchors of a document's headings.
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
fn every_link_in_the_documents_resolves() {
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
