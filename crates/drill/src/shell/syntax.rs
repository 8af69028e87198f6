//! What a script is once it has been read.

/// Commands in order, each with what decides whether it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct List(pub(crate) Vec<(Connector, Pipeline)>);

/// What the command before says about whether this one runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connector {
    /// `;` or a new line: always.
    Always,
    /// `&&`: after success.
    And,
    /// `||`: after failure.
    Or,
}

/// Commands whose output feeds the next one's input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pipeline {
    /// `!` before it: success and failure change places.
    pub(crate) negated: bool,
    pub(crate) stages: Vec<Stage>,
}

/// One member of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stage {
    pub(crate) action: Action,
    pub(crate) redirects: Vec<Redirect>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// A command and its arguments; nothing at all for a bare redirect.
    Words(Vec<Word>),
    /// `( … )` or `{ …; }`.
    Group(List),
}

/// Pieces that make one word together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Word(pub(crate) Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Quoted text: stands for itself.
    Quoted(String),
    /// Bare text: `*` and `?` in it match names.
    Bare(String),
    /// `$name`, `$?`; split at blanks unless quoted.
    Variable { name: String, quoted: bool },
    /// `$( … )`; split at blanks unless quoted.
    Substitution { script: List, quoted: bool },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Redirect {
    /// `> file`, `>> file`, `2> file`.
    File { fd: Fd, target: Word, append: bool },
    /// `2>&1`, `>&2`.
    Copy { fd: Fd, from: Fd },
    /// `< file`.
    Input(Word),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fd {
    Out,
    Err,
}
