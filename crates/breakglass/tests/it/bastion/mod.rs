//! The bastion between the stock OpenSSH clients and a real sshd and the real gate.

mod abuse;
mod approvals;
mod autonomy;
mod flow;
mod log;
mod relay;
mod scene;
mod stop;
mod upstream;
mod verbs;
