//! A small honest shell for commands over SSH.
