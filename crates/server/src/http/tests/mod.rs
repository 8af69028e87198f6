//! The real router on a real socket: what is proved here is proved of what is served.

mod auth_matrix;
mod events;
mod listen;
mod problems;
mod server;
