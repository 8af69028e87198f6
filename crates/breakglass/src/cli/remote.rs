//! The HTTP client of the command line. It turns errors into exit codes and sentences.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use super::{Exit, Failure, ServerArgs};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the header of a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time to read the body of a response.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A server with the token for it.
pub(crate) struct Remote {
    agent: Agent,
    base: String,
    token: SecretString,
}

impl Remote {
    /// Reads the token file. The error names a missing flag.
    pub(crate) fn new(args: &ServerArgs) -> Result<Remote, Failure> {
        let usage = |message: &str| Failure::new(Exit::Usage, message);
        let base = args.server.as_deref().ok_or_else(|| {
            usage("no server is given: use --server URL, or --direct with --config FILE")
        })?;
        let file = args.token_file.as_deref().ok_or_else(|| {
            usage("no token file is given: use --token-file FILE (the server's auth.token_file)")
        })?;
        let token = std::fs::read_to_string(file).map_err(|error| {
            usage(&format!(
                "the token file {} can't be read: {error}",
                file.display()
            ))
        })?;
        Ok(Remote::at(base, token.trim()))
    }

    /// The server at the URL `base`.
    pub(super) fn at(base: &str, token: &str) -> Remote {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(RESPONSE_TIMEOUT))
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
        self.decode(self.fetch(path, Some(BODY_TIMEOUT))?)
    }

    /// GETs `path` as text.
    pub(crate) fn get_text(&self, path: &str) -> Result<String, Failure> {
        let mut response = self.fetch(path, None)?;
        response
            .body_mut()
            .read_to_string()
            .map_err(|error| self.unreachable(&error))
    }

    /// POSTs to `path` without a body and decodes the JSON response. With the idempotency key it is safe
    /// to send the request again after a broken connection.
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
        self.decode(self.check_status(response)?)
    }

    /// Opens a stream. The reader returns an error after `timeout`.
    pub(crate) fn stream(
        &self,
        path: &str,
        timeout: Option<Duration>,
    ) -> Result<impl BufRead + use<>, Failure> {
        let response = self.fetch(path, timeout)?;
        Ok(BufReader::new(response.into_body().into_reader()))
    }

    fn fetch(&self, path: &str, body_timeout: Option<Duration>) -> Result<Response<Body>, Failure> {
        let response = self
            .agent
            .get(format!("{}{path}", self.base))
            .config()
            .timeout_recv_body(body_timeout)
            .build()
            .header("authorization", self.bearer())
            .call()
            .map_err(|error| self.unreachable(&error))?;
        self.check_status(response)
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token.expose_secret())
    }

    fn check_status(&self, mut response: Response<Body>) -> Result<Response<Body>, Failure> {
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
                format!("the response of {} can't be read: {error}", self.base),
            )
        })
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        Failure::new(
            Exit::Unreachable,
            format!(
                "{} can't be reached: {error}. Verbs also work without the server: --direct --config FILE",
                self.base
            ),
        )
    }
}
