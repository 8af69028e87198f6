//! The HTTP client of the command line: one token, one server, errors as sentences.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use super::{Exit, Failure, ServerArgs};

/// Longest time for an answer to come in, once it has begun.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A server and the right to ask it.
pub(crate) struct Remote {
    agent: Agent,
    base: String,
    token: SecretString,
}

impl Remote {
    /// Reads the token file; fails with the flag to give where something is missing.
    pub(crate) fn new(args: &ServerArgs) -> Result<Remote, Failure> {
        let usage = |message: &str| Failure::new(Exit::Usage, message);
        let base = args.server.as_deref().ok_or_else(|| {
            usage("no server is named: give --server URL, or use --direct with --config FILE")
        })?;
        let file = args.token_file.as_deref().ok_or_else(|| {
            usage("no token file is named: give --token-file FILE (the server's auth.token_file)")
        })?;
        let token = std::fs::read_to_string(file).map_err(|error| {
            usage(&format!(
                "the token file {} can't be read: {error}",
                file.display()
            ))
        })?;
        Ok(Remote::at(base, token.trim()))
    }

    /// The server at `base`, by this token.
    pub(super) fn at(base: &str, token: &str) -> Remote {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(Duration::from_secs(30)))
            .user_agent(concat!("breakglass/", env!("CARGO_PKG_VERSION")))
            .build();
        Remote {
            agent: config.into(),
            base: base.trim_end_matches('/').to_owned(),
            token: SecretString::from(token.to_owned()),
        }
    }

    /// GETs `path` and decodes its JSON.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.decode(self.fetch(path, Some(ANSWER_LIMIT))?)
    }

    /// GETs `path` as text.
    pub(crate) fn get_text(&self, path: &str) -> Result<String, Failure> {
        let mut response = self.fetch(path, None)?;
        response
            .body_mut()
            .read_to_string()
            .map_err(|error| self.unreachable(&error))
    }

    /// POSTs nothing to `path` under an idempotency key and decodes the answer. The key makes it
    /// safe to ask again when the connection broke before the answer came.
    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str, key: &str) -> Result<T, Failure> {
        let send = || {
            self.agent
                .post(format!("{}{path}", self.base))
                .header("authorization", self.bearer())
                .header("idempotency-key", key)
                .send_empty()
        };
        let response = send()
            .or_else(|_| send())
            .map_err(|error| self.unreachable(&error))?;
        self.decode(self.accept(response)?)
    }

    /// Opens a stream; the reader yields it until the server ends it, or with an error at `limit`.
    pub(crate) fn stream(
        &self,
        path: &str,
        limit: Option<Duration>,
    ) -> Result<impl BufRead + use<>, Failure> {
        let response = self.fetch(path, limit)?;
        Ok(BufReader::new(response.into_body().into_reader()))
    }

    /// `limit` is for the body.
    fn fetch(&self, path: &str, limit: Option<Duration>) -> Result<Response<Body>, Failure> {
        let response = self
            .agent
            .get(format!("{}{path}", self.base))
            .config()
            .timeout_recv_body(limit)
            .build()
            .header("authorization", self.bearer())
            .call()
            .map_err(|error| self.unreachable(&error))?;
        self.accept(response)
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token.expose_secret())
    }

    fn accept(&self, mut response: Response<Body>) -> Result<Response<Body>, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let problem: serde_json::Value = response.body_mut().read_json().unwrap_or_default();
        let detail = problem["detail"]
            .as_str()
            .unwrap_or("the server gave no reason");
        let exit = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::CONFLICT => {
                Exit::Refused
            }
            status if status.is_server_error() => Exit::Unreachable,
            _ => Exit::Failed,
        };
        Err(Failure::new(
            exit,
            format!("{} answered {}: {detail}", self.base, status.as_u16()),
        ))
    }

    fn decode<T: DeserializeOwned>(&self, mut response: Response<Body>) -> Result<T, Failure> {
        response.body_mut().read_json().map_err(|error| {
            Failure::new(
                Exit::Failed,
                format!("{} sent an answer that can't be read: {error}", self.base),
            )
        })
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        Failure::new(
            Exit::Unreachable,
            format!(
                "{} was not reached: {error}. The same verb works without the server: --direct --config FILE",
                self.base
            ),
        )
    }
}
