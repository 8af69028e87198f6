//! The bastion: an SSH server on a unix socket, through which every command of the agent passes to
//! guest or gate.
//!
//! ```text
//! agent's ssh client
//!      │ unix socket
//!      ▼
//! listener ──────── peer_auth, connection_limit: which process may connect, and how often
//!      ▼
//! ssh_server ────── channel_request: what a channel asks for
//!      ▼
//! dispatch ──────── session: turn, tool call, cut-off     policy, rules: allow, ask or deny
//!   │      │        approvals: the operator's answer      recorder, capture: the log
//!   ▼      ▼
//! relay   verb
//!   │      └─────── control's admission, like the button ── gate
//!   └────────────── control's upstream ── guest           cleanup: ends what is left there
//! ```
//! `bastion` is the interface for the server, `conversation` the interface for one conversation of the agent.
//! `session` holds an incident's state, `history` reads it from the log after a restart. The agent has no key and
//! no address: it gets the path of sockets that serve its own processes alone.

#![forbid(unsafe_code)]

mod approvals;
mod bastion;
mod capture;
mod channel_request;
mod cleanup;
mod client_channel;
mod connection_limit;
mod conversation;
mod dispatch;
mod execution;
mod history;
mod listener;
mod peer_auth;
mod policy;
mod recorder;
mod relay;
mod rules;
mod session;
mod ssh_server;
mod verb;

pub use approvals::DecideError;
pub use bastion::{Bastion, BastionError, BastionOptions, Ceiling, HOST_KEY_ALIAS};
pub use cleanup::SCRIPT_NAME;
pub use conversation::BastionConversation;
pub use rules::{Judgement, RuleFault, Rules, RulesError, Word, split};
