//! The syntax tree of a script.

/// Pipelines in order, each with the condition under which it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct List(pub(super) Vec<(Connector, Pipeline)>);

/// The condition under which a pipeline runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connector {
    /// `;` or a newline.
    Always,
    /// `&&`: after success.
    And,
    /// `||`: after failure.
    Or,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pipeline {
    /// `!` before the pipeline.
    pub(super) negated: bool,
    pub(super) stages: Vec<Stage>,
}

/// One command of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stage {
    pub(super) body: Body,
    pub(super) redirects: Vec<Redirect>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    /// A command with its arguments; empty for a redirection without a command.
    Command(Vec<Word>),
    /// `( … )` or `{ …; }`.
    Group(List),
}

/// Adjacent pieces that form one word.
pub(super) type Word = Vec<Piece>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) value: Value,
    /// Whether the value is neither split at blanks nor used as a file name pattern.
    pub(super) quoted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    /// `$name`, `${name}` or `$?`.
    Variable(String),
    /// `$( … )`.
    Output(List),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redirect {
    pub(super) from: Stream,
    pub(super) to: Target,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    In,
    Out,
    Err,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// `< file`, `> file`, `>> file`.
    File { name: Word, append: bool },
    /// `2>&1`, `>&2`.
    Stream(Stream),
}
