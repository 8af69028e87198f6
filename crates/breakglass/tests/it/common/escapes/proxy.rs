//! The egress proxy: attempts to reach a host that is not allowed.

use super::{Attempt, Prey, allowed, attempt, perl};

pub(super) fn proxy(prey: &Prey<'_>) -> Vec<Attempt> {
    let mut all = targets(prey);
    all.extend(requests(prey));
    all.extend(tunnels(prey));
    all
}

/// CONNECT to a host that is not allowed, in every spelling.
fn targets(prey: &Prey<'_>) -> Vec<Attempt> {
    let (api, listed) = (prey.api, prey.listed);
    let connect = |target: String| {
        perl(&format!(
            "passes(\"CONNECT {target} HTTP/1.1\\r\\nHost: localhost:{listed}\\r\\n\\r\\n\")"
        ))
    };
    vec![
        attempt(
            "the server by its address",
            connect(format!("127.0.0.1:{api}")),
        ),
        attempt(
            "the server by its name",
            connect(format!("localhost:{api}")),
        ),
        attempt(
            "the server by a number",
            connect(format!("2130706433:{api}")),
        ),
        attempt(
            "the server by a number of base 8",
            connect(format!("0177.0.0.1:{api}")),
        ),
        attempt(
            "the server by a number of base 16",
            connect(format!("0x7f000001:{api}")),
        ),
        attempt(
            "the server by a short address",
            connect(format!("127.1:{api}")),
        ),
        attempt("the server by zero", connect(format!("0:{api}"))),
        attempt(
            "the server by IPv6 through the proxy",
            connect(format!("[::1]:{api}")),
        ),
        attempt(
            "the server by a mapped address through the proxy",
            connect(format!("[::ffff:127.0.0.1]:{api}")),
        ),
        attempt(
            "the server by an address with a zone",
            connect(format!("[::1%25lo]:{api}")),
        ),
        attempt("a host of the world", connect("example.com:443".to_owned())),
        attempt(
            "metadata of a cloud through the proxy",
            connect("169.254.169.254:80".to_owned()),
        ),
        attempt(
            "the listed host by its address",
            connect(format!("127.0.0.1:{listed}")),
        ),
        attempt(
            "the listed host at another port",
            connect("localhost:22".to_owned()),
        ),
        attempt(
            "the listed host without a port",
            connect("localhost".to_owned()),
        ),
        attempt(
            "the listed host with a dot",
            connect(format!("localhost.:{listed}")),
        ),
        attempt(
            "the listed host below another",
            connect(format!("localhost.example.com:{listed}")),
        ),
        attempt(
            "the listed host above another",
            connect(format!("evil.localhost:{listed}")),
        ),
        attempt(
            "the listed host in other letters",
            connect(format!("\\xe2\\x93\\x9bocalhost:{listed}")),
        ),
        attempt(
            "the listed host by percent",
            connect(format!("%6cocalhost:{listed}")),
        ),
        attempt(
            "the listed host before a null byte",
            connect(format!("localhost\\0.example.com:{listed}")),
        ),
        attempt(
            "the listed host as a user",
            connect(format!("localhost:{listed}\\@127.0.0.1:{api}")),
        ),
        attempt(
            "the listed host after a user",
            connect(format!("127.0.0.1:{api}\\@localhost:{listed}")),
        ),
        attempt(
            "the listed host with two ports",
            connect(format!("localhost:{listed}:{api}")),
        ),
        attempt("port 0", connect("localhost:0".to_owned())),
        attempt("port 65536", connect("localhost:65536".to_owned())),
        attempt(
            "a port that comes round",
            connect(format!("localhost:{}", u32::from(listed) + 65536)),
        ),
        attempt(
            "a port with a sign",
            connect(format!("localhost:+{listed}")),
        ),
        attempt(
            "a new line in the target",
            connect(
                format!("localhost:{listed}\\r\\nX: y\\r\\n\\r\\nCONNECT 127.0.0.1:{api}")
                    .replace("localhost:", "127.0.0.1:"),
            ),
        ),
        attempt(
            "a space in the target",
            connect(format!("localhost:{api} localhost:{listed}")),
        ),
        attempt(
            "a path behind the target",
            connect(format!("127.0.0.1:{api}/localhost:{listed}")),
        ),
        attempt("no target", connect(String::new())),
        attempt(
            "a whole address as a target",
            connect(format!("http://127.0.0.1:{api}/")),
        ),
    ]
}

/// Absolute addresses, and headers with another host.
fn requests(prey: &Prey<'_>) -> Vec<Attempt> {
    let (api, listed) = (prey.api, prey.listed);
    let passes = |request: String| {
        perl(&format!(
            "passes(\"{request}\\r\\nConnection: close\\r\\n\\r\\n\")"
        ))
    };
    // Whether the allowed service, which returns its input, received this.
    let sends = |request: String, found: &str| {
        perl(&format!(
            "my $a = proxied(\"{request}\"); $! = 0; print length($a), \" bytes came back\\n\"; $a =~ /ECHO.*{found}/s"
        ))
    };
    let get = |address: String| format!("GET {address} HTTP/1.1\\r\\nHost: localhost:{listed}");
    vec![
        allowed(
            "a request to what is listed",
            sends(
                format!(
                    "{}\\r\\nConnection: close\\r\\n\\r\\n",
                    get(format!("http://localhost:{listed}/here"))
                ),
                "GET .here",
            ),
        ),
        attempt(
            "a plain request to the world",
            passes(get("http://example.com/".to_owned())),
        ),
        attempt(
            "a plain request to the server",
            passes(get(format!("http://127.0.0.1:{api}/health"))),
        ),
        attempt(
            "a request to the server with a forged header",
            passes(
                get(format!("http://127.0.0.1:{api}/api/me")) + "\\r\\nX-Authentik-Username: admin",
            ),
        ),
        attempt(
            "a user before the host",
            passes(get(format!(
                "http://localhost:{listed}\\@127.0.0.1:{api}/health"
            ))),
        ),
        attempt(
            "a fragment behind the host",
            passes(get(format!(
                "http://127.0.0.1:{api}/health#http://localhost:{listed}/"
            ))),
        ),
        attempt(
            "a backslash behind the host",
            passes(get(format!(
                "http://127.0.0.1:{api}\\\\\\@localhost:{listed}/health"
            ))),
        ),
        attempt(
            "a path without a host",
            passes(format!("GET /health HTTP/1.1\\r\\nHost: 127.0.0.1:{api}")),
        ),
        attempt(
            "another scheme",
            passes(get(format!("ftp://127.0.0.1:{api}/"))),
        ),
        attempt(
            "the server as https",
            passes(get(format!("https://127.0.0.1:{api}/health"))),
        ),
        attempt(
            "an old request without a host",
            passes(format!("GET http://127.0.0.1:{api}/health HTTP/1.0")),
        ),
        attempt(
            "the whole of the proxy asked",
            passes("OPTIONS * HTTP/1.1\\r\\nHost: x".to_owned()),
        ),
        attempt(
            "another Host",
            sends(
                format!(
                    "GET http://localhost:{listed}/ HTTP/1.1\\r\\nHost: evil.example\\r\\nConnection: close\\r\\n\\r\\n"
                ),
                "evil",
            ),
        ),
        attempt(
            "two Hosts",
            sends(
                format!(
                    "GET http://localhost:{listed}/ HTTP/1.1\\r\\nHost: localhost:{listed}\\r\\nHost: evil.example\\r\\nConnection: close\\r\\n\\r\\n"
                ),
                "evil",
            ),
        ),
        attempt(
            "a folded Host",
            sends(
                format!(
                    "GET http://localhost:{listed}/ HTTP/1.1\\r\\nHost: localhost:{listed}\\r\\n evil.example\\r\\nConnection: close\\r\\n\\r\\n"
                ),
                "evil",
            ),
        ),
        attempt(
            "a second request in the first one's body",
            sends(
                format!(
                    "POST http://localhost:{listed}/ HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 4\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\nGET /smuggled HTTP/1.1\\r\\nHost: evil.example\\r\\nConnection: close\\r\\n\\r\\n"
                ),
                "smuggled",
            ),
        ),
        attempt(
            "a second request behind the first",
            sends(
                format!(
                    "GET http://localhost:{listed}/ HTTP/1.1\\r\\nHost: x\\r\\n\\r\\nGET http://127.0.0.1:{api}/health HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n"
                ),
                "\\r\\n\\r\\nok",
            ),
        ),
        attempt(
            "an upgrade of the connection",
            sends(
                format!(
                    "GET http://localhost:{listed}/ HTTP/1.1\\r\\nHost: x\\r\\nConnection: Upgrade\\r\\nUpgrade: evil\\r\\n\\r\\n"
                ),
                "evil",
            ),
        ),
    ]
}

/// Attempts through an allowed tunnel.
fn tunnels(prey: &Prey<'_>) -> Vec<Attempt> {
    let listed = format!("localhost:{}", prey.listed);
    let tunnelled = |bytes: &str| perl(&format!("tunnelled(\"{listed}\", {bytes})"));
    vec![
        allowed(
            "a tunnel to what is listed",
            tunnelled("hello(\"localhost\")"),
        ),
        attempt(
            "another name in the tunnel",
            tunnelled("hello(\"evil.example\")"),
        ),
        attempt(
            "a name below the listed one",
            tunnelled("hello(\"evil.localhost\")"),
        ),
        attempt("no name in the tunnel", tunnelled("hello(undef)")),
        attempt("an empty name in the tunnel", tunnelled("hello(\"\")")),
        attempt(
            "a name with a null byte",
            tunnelled("hello(\"localhost\\0.evil\")"),
        ),
        attempt(
            "no TLS in the tunnel",
            tunnelled("\"GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n\""),
        ),
        attempt("ssh in the tunnel", tunnelled("\"SSH-2.0-x\\r\\n\"")),
        attempt("one byte in the tunnel", tunnelled("\"\\x16\"")),
        attempt(
            "endless bytes in the tunnel",
            tunnelled("\"\\x16\\x03\\x01\\xff\\xff\" . (\"x\" x 100000)"),
        ),
        attempt(
            "an old form of TLS in the tunnel",
            tunnelled("\"\\x80\\x2e\\x01\\x03\\x01\" . (\"x\" x 60)"),
        ),
    ]
}
