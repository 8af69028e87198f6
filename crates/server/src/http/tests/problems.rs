//! Errors of requests: problem details, headers, and no side effects.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::server::{DEADLINE, Request, Server, TOKEN};
use crate::http::PROMPT_MAX_BYTES;

fn assert_problem(answer: &super::server::Answer, status: u16, kind: &str) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    let body = answer.json();
    assert_eq!(body["type"], format!("urn:breakglass:{kind}"));
    assert_eq!(body["status"], status);
    for field in ["title", "detail"] {
        assert!(
            body[field].as_str().is_some_and(|text| !text.is_empty()),
            "{body}"
        );
    }
}

#[tokio::test]
async fn each_kind_of_error_has_its_problem_type() {
    let server = Server::start().await;
    let incident = server.open_incident().await;
    let on = |rest: &str| format!("/api/incidents/{incident}/{rest}");
    let nil = uuid::Uuid::nil();
    let long = format!("{{\"text\":\"{}\"}}", "a".repeat(PROMPT_MAX_BYTES + 1));
    let huge = format!("{{\"text\":\"{}\"}}", "a".repeat(70_000));
    let table: Vec<(&str, String, &str, u16, &str)> = vec![
        ("GET", "/nowhere".into(), "", 404, "not-found"),
        ("GET", "/index.html".into(), "", 404, "not-found"),
        ("GET", "/api/nowhere".into(), "", 404, "not-found"),
        ("DELETE", "/api/me".into(), "", 405, "method-not-allowed"),
        ("POST", "/health".into(), "", 405, "method-not-allowed"),
        ("GET", "/api/targets/nope".into(), "", 404, "not-found"),
        (
            "GET",
            format!("/api/operations/{nil}"),
            "",
            404,
            "not-found",
        ),
        ("GET", "/api/operations/x".into(), "", 404, "not-found"),
        ("GET", format!("/api/incidents/{nil}"), "", 404, "not-found"),
        ("GET", "/api/incidents/..%2f".into(), "", 404, "not-found"),
        (
            "GET",
            format!("/api/incidents/{nil}/events"),
            "",
            404,
            "not-found",
        ),
        ("GET", on("events?after=x"), "", 400, "malformed"),
        ("GET", on("events?since=1"), "", 400, "malformed"),
        ("GET", on("events?after=99"), "", 409, "ahead"),
        ("POST", "/api/incidents".into(), "{", 400, "malformed"),
        ("POST", "/api/incidents".into(), "{}", 422, "unacceptable"),
        (
            "POST",
            "/api/incidents".into(),
            r#"{"target":"devvm","x":1}"#,
            422,
            "unacceptable",
        ),
        (
            "POST",
            "/api/incidents".into(),
            r#"{"target":"nope"}"#,
            404,
            "not-found",
        ),
        (
            "POST",
            on("prompts"),
            r#"{"text":"  "}"#,
            422,
            "unacceptable",
        ),
        ("POST", on("prompts"), &long, 422, "unacceptable"),
        ("POST", on("prompts"), &huge, 413, "too-large"),
        (
            "POST",
            on("prompts"),
            r#"{"text":"a","model":"gpt"}"#,
            422,
            "unacceptable",
        ),
        ("POST", on("prompts"), r#"{"text":"a"}"#, 503, "unavailable"),
        ("POST", on("stop"), r#"{"force":true}"#, 422, "unacceptable"),
        ("POST", on("close"), &huge, 413, "too-large"),
        (
            "POST",
            "/api/targets/devvm/verbs/status?wait=1".into(),
            "",
            400,
            "malformed",
        ),
    ];
    for (method, path, body, status, kind) in table {
        let answer = server.as_token(method, &path, body).await;
        assert_problem(&answer, status, kind);
    }
}

#[tokio::test]
async fn body_with_another_content_type_is_refused() {
    let server = Server::start().await;
    let bearer = format!("Bearer {TOKEN}");
    for kind in ["text/plain", "application/x-www-form-urlencoded"] {
        let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
        let body = r#"{"target":"devvm"}"#;
        let request = Request {
            headers: &headers,
            body,
            ..Request::new("POST", "/api/incidents")
        };
        assert_problem(&server.send(&request).await, 415, "not-json");
    }
}

#[tokio::test]
async fn late_body_does_not_close_the_connection() {
    let server = Server::start().await;
    let mut stream = server.connect(std::net::Ipv4Addr::LOCALHOST.into()).await;
    let head = format!(
        "POST /api/targets/devvm/verbs/status HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: Bearer {TOKEN}\r\nContent-Length: 2\r\n\r\n"
    );
    for _ in 0..3 {
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut early = [0; 1];
        let answered = stream.read_exact(&mut early);
        let answered = tokio::time::timeout(Duration::from_millis(50), answered).await;
        assert!(answered.is_err(), "answered before the body was there");
        stream.write_all(b"{}").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            let read = stream.read_buf(&mut answer);
            let read = tokio::time::timeout(DEADLINE, read).await.unwrap();
            assert!(read.unwrap() > 0, "the connection was closed");
        }
        assert!(answer.starts_with(b"HTTP/1.1 202"), "{answer:?}");
    }
}

#[tokio::test]
async fn unknown_verb_is_refused_with_the_allowed_verbs_and_without_a_connection() {
    let server = Server::start_without_watchers().await;
    for word in [
        "destroy",
        "Status",
        "status%20",
        "status%0a",
        "%2e%2e",
        "status%20--json",
        "102",
    ] {
        let path = format!("/api/targets/devvm/verbs/{word}?wait=true");
        let answer = server.as_token("POST", &path, "").await;
        assert_problem(&answer, 404, "not-found");
        let allowed = answer.json()["allowed"].clone();
        let table = breakglass_verbs::Verb::ALL.map(breakglass_verbs::Verb::as_str);
        assert_eq!(allowed, serde_json::json!(table), "{word}");
    }
    // The same request with a known verb gets as far as control, so only the verb was refused.
    let known = server
        .as_token("POST", "/api/targets/devvm/verbs/status?wait=true", "")
        .await;
    assert_problem(&known, 503, "unavailable");
    let dialled = tokio::time::timeout(Duration::from_millis(200), server.dialled.accept()).await;
    assert!(
        dialled.is_err(),
        "an unknown verb caused a connection to the host"
    );
}

#[tokio::test]
async fn malformed_idempotency_keys_are_refused() {
    let server = Server::start().await;
    let bearer = format!("Bearer {TOKEN}");
    let long = "k".repeat(256);
    for key in ["", "a b", &long] {
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", key)];
        let path = "/api/targets/devvm/verbs/status";
        let request = Request {
            headers: &headers,
            ..Request::new("POST", path)
        };
        assert_problem(&server.send(&request).await, 400, "malformed");
    }
}

#[tokio::test]
async fn every_response_has_the_security_headers() {
    let server = Server::start().await;
    for path in [
        "/",
        "/sw.js",
        "/icon.svg",
        "/health",
        "/api/me",
        "/nowhere",
        "/api/nowhere",
    ] {
        let answer = server.send(&Request::new("GET", path)).await;
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        // Data needs no scripts, not even ours.
        assert_eq!(
            policy.contains("script-src 'self'; "),
            ["/", "/sw.js"].contains(&path),
            "{path}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        assert_eq!(
            answer.header("referrer-policy"),
            Some("no-referrer"),
            "{path}"
        );
        assert_eq!(
            answer.header("cross-origin-opener-policy"),
            Some("same-origin")
        );
        let keep = if ["/", "/sw.js", "/icon.svg"].contains(&path) {
            "no-cache"
        } else {
            "no-store"
        };
        assert_eq!(answer.header("cache-control"), Some(keep), "{path}");
    }
}

#[tokio::test]
async fn closed_incident_refuses_prompts_and_its_stream_returns_204() {
    let server = Server::start().await;
    let incident = server.open_incident().await;
    let on = |rest: &str| format!("/api/incidents/{incident}/{rest}");
    assert_eq!(server.as_token("POST", &on("close"), "").await.status, 204);
    assert_problem(
        &server.as_token("POST", &on("close"), "").await,
        409,
        "closed",
    );
    let prompt = server
        .as_token("POST", &on("prompts"), r#"{"text":"a"}"#)
        .await;
    assert_problem(&prompt, 409, "closed");
    assert_eq!(
        server
            .as_token("GET", &on("events?after=2"), "")
            .await
            .status,
        204
    );
    let report = server.as_token("GET", &on("report.md"), "").await;
    assert_eq!(
        report.header("content-type"),
        Some("text/markdown; charset=utf-8")
    );
    assert!(
        report.body.contains("closed the incident"),
        "{}",
        report.body
    );
}

#[tokio::test]
async fn json_is_compressed_on_request_and_streams_never_are() {
    let server = Server::start().await;
    let plain = server.as_token("GET", "/api/me", "").await;
    assert!(plain.header("content-encoding").is_none());
    assert!(!plain.json()["presets"].as_array().unwrap().is_empty());
    let incident = server.open_incident().await;
    let events = format!("/api/incidents/{incident}/export");
    for (path, coding) in [("/api/me", Some("gzip")), (events.as_str(), None)] {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("accept-encoding", "gzip"),
        ];
        let answer = server
            .send(&Request {
                headers: &headers,
                ..Request::new("GET", path)
            })
            .await;
        assert_eq!(
            (answer.status, answer.header("content-encoding")),
            (200, coding),
            "{path}"
        );
        let kept = answer
            .header("content-length")
            .and_then(|it| it.parse().ok());
        assert!(
            coding.is_none() || kept < Some(plain.body.len()),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn page_is_compressed_and_revalidated_by_etag() {
    let server = Server::start().await;
    let br = [("accept-encoding", "gzip, br")];
    let page = server
        .send(&Request {
            headers: &br,
            ..Request::new("GET", "/")
        })
        .await;
    let tag = page.header("etag").unwrap().to_owned();
    let again = [
        ("accept-encoding", "gzip, br"),
        ("if-none-match", tag.as_str()),
    ];
    let again = server
        .send(&Request {
            headers: &again,
            ..Request::new("GET", "/")
        })
        .await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    let plain = server.send(&Request::new("GET", "/")).await;
    assert!(plain.header("content-encoding").is_none());
    assert!(plain.body.to_ascii_lowercase().contains("<!doctype html>"));
}
