//! Authentication as a table: each row is a request over a real connection and its status.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::server::{LOCAL, PROXY, Request, Server, TOKEN};
use crate::auth::LIFETIME_S;
use crate::http::PROTECTED;

/// Whether the request comes from the trusted proxy's address.
#[derive(Clone, Copy)]
enum Origin {
    Proxy,
    Direct,
}
use Origin::{Direct, Proxy};

type Row = (
    &'static str,
    Origin,
    &'static str,
    &'static [(&'static str, &'static str)],
    u16,
);

const USER: (&str, &str) = ("x-authentik-username", "ann");
const BEARER: (&str, &str) = ("authorization", "Bearer {token}");
const SESSION: (&str, &str) = ("cookie", "breakglass_session={session}");
const SAME: (&str, &str) = ("sec-fetch-site", "same-origin");
const OURS: (&str, &str) = ("origin", "http://{host}");
const THEIRS: (&str, &str) = ("origin", "https://evil.example");

/// Description, origin, method, headers, and expected status. `GET` reads `/api/me`; `POST` signs out,
/// a change without side effects.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("no proof", Direct, "GET", &[], 401),
    ("no proof, through the proxy", Proxy, "GET", &[], 401),
    ("the user header from the proxy", Proxy, "GET", &[USER], 200),
    ("the user header from a direct client", Direct, "GET", &[USER], 401),
    ("the user header from a direct client that names the proxy", Direct, "GET", &[USER, ("x-forwarded-for", "127.0.0.2"), ("x-real-ip", "127.0.0.2"), ("forwarded", "for=127.0.0.2")], 401),
    ("the user header twice", Proxy, "GET", &[USER, USER], 401),
    ("the user header twice, differing", Proxy, "GET", &[USER, ("x-authentik-username", "bob")], 401),
    ("an empty user header", Proxy, "GET", &[("x-authentik-username", "")], 401),
    ("a blank user header", Proxy, "GET", &[("x-authentik-username", "   ")], 401),
    ("an empty user header and the token", Proxy, "GET", &[("x-authentik-username", ""), BEARER], 200),
    ("two user headers and the token", Proxy, "GET", &[USER, USER, BEARER], 200),
    ("two user headers and a session", Proxy, "GET", &[USER, USER, SESSION], 200),
    ("an overlong user header and a wrong token", Proxy, "GET", &[("x-authentik-username", "{long}"), ("authorization", "Bearer {wrong}")], 401),
    ("the user header and a wrong token", Proxy, "GET", &[USER, ("authorization", "Bearer {wrong}")], 200),
    ("an overlong user header", Proxy, "GET", &[("x-authentik-username", "{long}")], 401),
    ("a user header of 128 bytes", Proxy, "GET", &[("x-authentik-username", "{128}")], 200),
    ("a user header in UTF-8", Proxy, "GET", &[("x-authentik-username", "Jürgen Groß")], 200),
    ("a user header as RFC 8187 has it", Proxy, "GET", &[("x-authentik-username", "UTF-8''J%C3%BCrgen")], 200),
    ("a user header with a direction in it", Proxy, "GET", &[("x-authentik-username", "ann\u{202e}bob")], 401),
    ("a user header with a blank of no width", Proxy, "GET", &[("x-authentik-username", "an\u{200b}n")], 401),
    ("a user header with the same, encoded", Proxy, "GET", &[("x-authentik-username", "UTF-8''an%E2%80%8Bn")], 401),
    ("a user header with a line's end, encoded", Proxy, "GET", &[("x-authentik-username", "UTF-8''ann%0A")], 401),
    ("a user header of 128 letters in 256 bytes", Proxy, "GET", &[("x-authentik-username", "{128ä}")], 401),
    ("the user header from a local address that is listed", Direct, "GET", &[USER], 401),
    ("the user header from a local address, and the token", Direct, "GET", &[USER, BEARER], 200),
    ("a change by the user header from a local address", Direct, "POST", &[USER, SAME], 401),
    ("a user header with a tab", Proxy, "GET", &[("x-authentik-username", "an\tn")], 401),
    ("the user header from a direct client with the token", Direct, "GET", &[USER, BEARER], 200),
    ("the token", Direct, "GET", &[BEARER], 200),
    ("the token, scheme in capitals", Direct, "GET", &[("authorization", "BEARER {token}")], 200),
    ("a wrong token", Direct, "GET", &[("authorization", "Bearer {wrong}")], 401),
    ("the token and one byte more", Direct, "GET", &[("authorization", "Bearer {token}x")], 401),
    ("an empty token", Direct, "GET", &[("authorization", "Bearer ")], 401),
    ("no scheme", Direct, "GET", &[("authorization", "{token}")], 401),
    ("another scheme", Direct, "GET", &[("authorization", "Basic {token}")], 401),
    ("the token twice", Direct, "GET", &[BEARER, BEARER], 401),
    ("a wrong token and a good session", Direct, "GET", &[("authorization", "Bearer {wrong}"), SESSION], 401),
    ("the token in the query", Direct, "GET?token={token}", &[], 401),
    ("the token as a cookie", Direct, "GET", &[("cookie", "breakglass_session={token}")], 401),
    ("a session", Direct, "GET", &[SESSION], 200),
    ("a session among other cookies", Direct, "GET", &[("cookie", "a=b; breakglass_session={session}; c=d")], 200),
    ("a session that ended by time", Direct, "GET", &[("cookie", "breakglass_session={expired}")], 401),
    ("a session from the future", Direct, "GET", &[("cookie", "breakglass_session={future}")], 401),
    ("a session that was signed out", Direct, "GET", &[("cookie", "breakglass_session={ended}")], 401),
    ("a session for another name by the same signature", Direct, "GET", &[("cookie", "breakglass_session={forged}")], 401),
    ("a session under another key", Direct, "GET", &[("cookie", "breakglass_session={foreign}")], 401),
    ("two sessions", Direct, "GET", &[SESSION, SESSION], 401),
    ("a change by session from our page", Direct, "POST", &[("cookie", "breakglass_session={spare1}"), SAME, OURS], 204),
    ("a change by session, Origin alone", Direct, "POST", &[("cookie", "breakglass_session={spare2}"), OURS], 204),
    ("a change by session, Sec-Fetch-Site alone", Direct, "POST", &[("cookie", "breakglass_session={spare3}"), SAME], 204),
    ("a change by session with neither header", Direct, "POST", &[SESSION], 403),
    ("a change by session from another site", Direct, "POST", &[SESSION, ("sec-fetch-site", "cross-site")], 403),
    ("a change by session from a sibling", Direct, "POST", &[SESSION, ("sec-fetch-site", "same-site"), OURS], 403),
    ("a change by session from nowhere", Direct, "POST", &[SESSION, ("sec-fetch-site", "none")], 403),
    ("a change by session with another Origin", Direct, "POST", &[SESSION, THEIRS], 403),
    ("a change by session with another Origin that claims to be ours", Direct, "POST", &[SESSION, SAME, THEIRS], 403),
    ("a change by session with Origin null", Direct, "POST", &[SESSION, ("origin", "null")], 403),
    ("a change by session with another port", Direct, "POST", &[SESSION, ("origin", "http://127.0.0.1:1")], 403),
    ("a change by session with two Origins", Direct, "POST", &[SESSION, OURS, THEIRS], 403),
    ("a change through the proxy from our page", Proxy, "POST", &[USER, SAME], 204),
    ("a change through the proxy with neither header", Proxy, "POST", &[USER], 403),
    ("a change through the proxy from another site", Proxy, "POST", &[USER, THEIRS], 403),
    ("a change through a TLS proxy from the same name without TLS", Proxy, "POST", &[USER, ("host", "rescue.example.org"), ("x-forwarded-proto", "https"), ("origin", "http://rescue.example.org")], 403),
    ("a change through a TLS proxy from our page", Proxy, "POST", &[USER, ("host", "rescue.example.org"), ("x-forwarded-proto", "https"), ("origin", "https://rescue.example.org")], 204),
    ("a change through an edge on a port of its own that leaves the port out of Host", Proxy, "POST", &[USER, ("host", "rescue.example.org"), ("x-forwarded-proto", "https"), ("origin", "https://rescue.example.org:8443"), SAME], 204),
    ("the same from a browser that does not say so", Proxy, "POST", &[USER, ("host", "rescue.example.org"), ("x-forwarded-proto", "https"), ("origin", "https://rescue.example.org:8443")], 403),
    ("the same from another port's page", Proxy, "POST", &[USER, ("host", "rescue.example.org"), ("x-forwarded-proto", "https"), ("origin", "https://rescue.example.org:8443"), ("sec-fetch-site", "same-site")], 403),
    ("the same under a name that is not ours", Proxy, "POST", &[USER, ("host", "evil.example"), ("origin", "https://evil.example:8443"), SAME], 421),
    ("a change by token with neither header", Direct, "POST", &[BEARER], 204),
    ("a change by token from another site", Direct, "POST", &[BEARER, THEIRS], 403),
    ("a name that is ours", Direct, "GET", &[BEARER, ("host", "Rescue.Example.org:443")], 200),
    ("a name that is not ours", Direct, "GET", &[BEARER, ("host", "evil.example")], 421),
    ("a rebound name with our port", Direct, "GET", &[SESSION, ("host", "evil.example:8080")], 421),
    ("a name that begins like an address", Direct, "GET", &[BEARER, ("host", "127.0.0.1.evil.example")], 421),
    ("localhost", Direct, "GET", &[BEARER, ("host", "localhost:1")], 200),
    ("an IPv6 address", Direct, "GET", &[BEARER, ("host", "[::1]:8080")], 200),
    ("two Hosts", Direct, "GET", &[BEARER, ("host", "127.0.0.1"), ("host", "evil.example")], 421),
];

fn values(server: &Server) -> HashMap<&'static str, String> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let auth = &server.state.auth;
    let good = auth.cookie_issued_at("ann", now - 5, "good");
    let (_, signature) = good.rsplit_once('.').unwrap();
    let other = auth.cookie_issued_at("bob", now - 5, "good");
    let (claims, _) = other.rsplit_once('.').unwrap();
    let foreign = crate::auth::Auth::new(
        &breakglass_config::AuthConfig {
            trusted_proxies: Vec::new(),
            user_header: "x-user".parse().unwrap(),
            token: Some(breakglass_config::ApiToken::new(&TOKEN.to_uppercase()).unwrap()),
            token_identity: "ann".to_owned(),
            secure_cookie: false,
        },
        &[],
        &[],
    );
    HashMap::from([
        ("token", TOKEN.to_owned()),
        ("wrong", TOKEN.replace('A', "B")),
        ("host", server.address.to_string()),
        ("long", "a".repeat(129)),
        ("128", "a".repeat(128)),
        ("128ä", "ä".repeat(128)),
        ("forged", format!("{claims}.{signature}")),
        (
            "foreign",
            foreign.unwrap().cookie_issued_at("ann", now - 5, "good"),
        ),
        (
            "expired",
            auth.cookie_issued_at("ann", now - LIFETIME_S - 1, "old"),
        ),
        ("future", auth.cookie_issued_at("ann", now + 600, "future")),
        ("ended", auth.cookie_issued_at("ann", now - 5, "ended")),
        ("spare1", auth.cookie_issued_at("ann", now - 5, "1")),
        ("spare2", auth.cookie_issued_at("ann", now - 5, "2")),
        ("spare3", auth.cookie_issued_at("ann", now - 5, "3")),
        ("session", good),
    ])
}

fn fill(text: &str, values: &HashMap<&'static str, String>) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{name}}}"), value)
    })
}

#[tokio::test]
async fn every_row_of_the_auth_matrix_gets_its_status() {
    let server = Server::start().await;
    let values = values(&server);
    let ended = format!("breakglass_session={}", values["ended"]);
    let headers = [("cookie", ended.as_str()), SAME];
    let out = Request {
        headers: &headers,
        ..Request::new("POST", "/api/logout")
    };
    assert_eq!(server.send(&out).await.status, 204);
    let mut wrong = Vec::new();
    for &(what, from, how, headers, status) in ROWS {
        let (method, query) = how.split_at(how.find('?').unwrap_or(how.len()));
        let path = if method == "GET" {
            "/api/me"
        } else {
            "/api/logout"
        };
        let path = format!("{path}{}", fill(query, &values));
        let headers: Vec<(&str, String)> = headers
            .iter()
            .map(|(name, value)| (*name, fill(value, &values)))
            .collect();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let mut request = Request {
            headers: &headers,
            ..Request::new(method, &path)
        };
        if matches!(from, Proxy) {
            request.from = PROXY;
        }
        // Each row starts without earlier failures: the back-off has a test of its own.
        server.state.auth.forget_failures();
        let answer = server.send(&request).await;
        if answer.status != status {
            wrong.push(format!(
                "{what}: {} instead of {status}; {}",
                answer.status, answer.body
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} rows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[tokio::test]
async fn refused_user_header_is_answered_with_the_reason() {
    let server = Server::start().await;
    for (from, name, why) in [
        (PROXY, "", "the name is empty"),
        (PROXY, "an\u{200b}n", "invisible characters"),
        (PROXY, "UTF-8''J%FCrgen", "not UTF-8"),
        (LOCAL, "ann", "one of this server's own addresses"),
    ] {
        let request = Request {
            from,
            headers: &[("x-authentik-username", name)],
            ..Request::new("GET", "/api/me")
        };
        let answer = server.send(&request).await;
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, 401, "{name:?}");
        assert!(detail.contains("x-authentik-username"), "{detail}");
        assert!(detail.contains(why), "{detail}");
    }
}

#[tokio::test]
async fn both_encodings_of_a_name_give_the_same_identity() {
    let server = Server::start().await;
    for name in ["Jürgen Groß", "UTF-8'de'J%C3%BCrgen%20Gro%C3%9F"] {
        let request = Request {
            from: PROXY,
            headers: &[("x-authentik-username", name)],
            ..Request::new("GET", "/api/me")
        };
        let answer = server.send(&request).await;
        assert_eq!(answer.json()["identity"], "Jürgen Groß");
    }
}

#[tokio::test]
async fn no_route_answers_without_an_identity() {
    let server = Server::start_without_watchers().await;
    let id = uuid::Uuid::nil().to_string();
    for (method, path) in PROTECTED {
        let path = path
            .replace("{target}", "devvm")
            .replace("{verb}", "status")
            .replace("{check}", "disk")
            .replace("{operation}", &id)
            .replace("{incident}", &id);
        let answer = server.send(&Request::new(method, &path)).await;
        assert_eq!(answer.status, 401, "{method} {path}: {}", answer.body);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{path}");
    }
    let dialled = tokio::time::timeout(Duration::from_millis(200), server.dialled.accept()).await;
    assert!(
        dialled.is_err(),
        "a request without identity caused a connection to the host"
    );
}

#[test]
fn list_of_protected_routes_matches_the_router() {
    let source = include_str!("../router.rs");
    let listed = |path: &str| PROTECTED.iter().any(|(_, known)| *known == path);
    let routes = source
        .split(".route(")
        .skip(1)
        .filter_map(|rest| rest.split('"').nth(1));
    let routes: Vec<&str> = routes.collect();
    assert!(routes.len() > 15, "{routes:?}");
    for path in routes {
        let open = ["/health", "/api/login"].contains(&path);
        assert!(
            open || listed(path) || listed(&format!("/api{path}")),
            "{path} is not listed"
        );
    }
}

#[tokio::test]
async fn health_and_page_need_no_identity_and_health_accepts_any_host() {
    let server = Server::start().await;
    let odd = [("host", "anything.example")];
    let health = server
        .send(&Request {
            headers: &odd,
            ..Request::new("GET", "/health")
        })
        .await;
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    assert_eq!(server.send(&Request::new("GET", "/")).await.status, 200);
    let page = server
        .send(&Request {
            headers: &odd,
            ..Request::new("GET", "/")
        })
        .await;
    assert_eq!(page.status, 421);
}

#[tokio::test]
async fn signing_in_sets_a_cookie_that_works_until_signing_out() {
    let server = Server::start().await;
    let origin = format!("http://{}", server.address);
    let headers = [
        ("origin", origin.as_str()),
        ("content-type", "application/json"),
    ];
    let body = format!("{{\"token\":\"{TOKEN}\"}}");
    let login = Request {
        headers: &headers,
        body: &body,
        ..Request::new("POST", "/api/login")
    };
    let answer = server.send(&login).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    let set = answer.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains("Secure"), "{set}");
    let cookie = set.split(';').next().unwrap();
    let me = Request {
        headers: &[("cookie", cookie)],
        ..Request::new("GET", "/api/me")
    };
    assert_eq!(server.send(&me).await.json()["identity"], "operator");
    let headers = [("cookie", cookie), SAME];
    let out = Request {
        headers: &headers,
        ..Request::new("POST", "/api/logout")
    };
    let out = server.send(&out).await;
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(server.send(&me).await.status, 401);
}

#[tokio::test]
async fn cookie_is_secure_if_the_proxy_reports_tls() {
    let server = Server::start().await;
    let headers = [
        ("host", "rescue.example.org"),
        ("origin", "https://rescue.example.org"),
        ("x-forwarded-proto", "https"),
        ("content-type", "application/json"),
    ];
    let body = format!("{{\"token\":\"{TOKEN}\"}}");
    let mut login = Request {
        headers: &headers,
        body: &body,
        ..Request::new("POST", "/api/login")
    };
    login.from = [127, 0, 0, 3].into();
    let plain = server.send(&login).await;
    login.from = PROXY;
    let tls = server.send(&login).await;
    assert!(!plain.header("set-cookie").unwrap().contains("; Secure"));
    assert!(tls.header("set-cookie").unwrap().contains("; Secure"));
}

#[tokio::test]
async fn another_site_cannot_sign_a_browser_in() {
    let server = Server::start().await;
    let body = format!("{{\"token\":\"{TOKEN}\"}}");
    for odd in [THEIRS, ("sec-fetch-site", "cross-site"), ("accept", "*/*")] {
        let headers = [odd, ("content-type", "application/json")];
        let login = Request {
            headers: &headers,
            body: &body,
            ..Request::new("POST", "/api/login")
        };
        assert_eq!(server.send(&login).await.status, 403, "{odd:?}");
    }
}

#[tokio::test]
async fn one_time_code_signs_in_once() {
    let server = Server::start().await;
    let code = server.state.auth.one_time_code("ann").unwrap();
    let body = format!("{{\"token\":\"{code}\"}}");
    let headers = [SAME, ("content-type", "application/json")];
    let login = Request {
        headers: &headers,
        body: &body,
        ..Request::new("POST", "/api/login")
    };
    assert_eq!(server.send(&login).await.status, 204);
    let again = server.send(&login).await;
    assert_eq!(again.status, 401);
    assert!(again.body.contains("works once"), "{}", again.body);
}

#[tokio::test]
async fn wrong_tokens_are_slowed_and_the_right_token_is_not() {
    let server = Server::start().await;
    let wrong = [("authorization", "Bearer wrong")];
    let guess = Request {
        headers: &wrong,
        ..Request::new("GET", "/api/me")
    };
    for _ in 0..10 {
        assert_eq!(server.send(&guess).await.status, 401);
    }
    let slowed = server.send(&guess).await;
    assert_eq!(slowed.status, 429);
    assert_eq!(slowed.header("retry-after"), Some("1"));
    assert_eq!(server.as_token("GET", "/api/me", "").await.status, 200);
    assert_eq!(
        server.send(&guess).await.status,
        401,
        "the right token did not reset the failures"
    );
}
