use std::collections::BTreeSet;

use super::*;
use crate::http::PROTECTED;

fn allowed() -> AllowedValues {
    AllowedValues {
        targets: vec!["devvm".to_owned()],
        models: vec!["sonnet".to_owned()],
        agents: vec!["claude".to_owned()],
        verbs: vec!["status"],
        checks: vec!["disk"],
    }
}

#[test]
fn the_document_and_the_router_have_the_same_routes() {
    let document = document(&allowed(), "1");
    let mut documented = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            documented.insert((method.to_uppercase(), path.clone()));
        }
    }
    let open = [("GET", "/health"), ("POST", "/api/login")];
    let served: BTreeSet<(String, String)> = PROTECTED
        .iter()
        .chain(&open)
        .filter(|(_, path)| !path.ends_with("no-such-thing"))
        .map(|(method, path)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    assert_eq!(documented, served);
}

#[test]
fn references_resolve_and_operation_ids_are_unique() {
    let document = document(&allowed(), "1");
    let text = document.to_string();
    let references = text.split("\"$ref\":\"#").skip(1);
    let mut count = 0;
    for reference in references.filter_map(|rest| rest.split('"').next()) {
        assert!(document.pointer(reference).is_some(), "{reference}");
        count += 1;
    }
    assert!(count > 50, "only {count} references");
    let names = text.split("\"operationId\":\"").skip(1);
    let names: Vec<&str> = names.filter_map(|rest| rest.split('"').next()).collect();
    let different: BTreeSet<&&str> = names.iter().collect();
    assert_eq!(different.len(), names.len());
}

#[test]
fn only_routes_without_identity_are_documented_as_open() {
    let document = document(&allowed(), "1");
    let open = |path: &str, method: &str| document["paths"][path][method]["security"] == json!([]);
    assert!(open("/health", "get") && open("/api/login", "post"));
    for (method, path) in PROTECTED {
        assert!(!open(path, &method.to_lowercase()), "{method} {path}");
    }
}
