//! A conversation in progress: says things token by token, runs commands, and can be interrupted
//! at every moment.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::input::{Control, Input};
use super::tool::{self, Ran};
use super::wire::{Ending, Wire};

/// Prompts that wait while a turn runs.
const MAX_WAITING: usize = 8;
/// The pace of the words: quick enough to be read, slow enough to be seen.
const PACE: [Duration; 3] = [
    Duration::from_millis(15),
    Duration::from_millis(25),
    Duration::from_millis(19),
];

/// Why a turn ends before its story does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    Interrupted,
    Closed,
}

/// Both ends of the conversation.
pub(super) struct Talk<W> {
    wire: Wire<W>,
    input: Receiver<Input>,
    waiting: VecDeque<String>,
    messages: u32,
    /// Whether a tool was running when the turn was interrupted.
    in_tool: bool,
    last: String,
}

impl<W: Write> Talk<W> {
    pub(super) fn new(wire: Wire<W>, input: Receiver<Input>) -> Talk<W> {
        Talk {
            wire,
            input,
            waiting: VecDeque::new(),
            messages: 0,
            in_tool: false,
            last: String::new(),
        }
    }

    /// The next prompt; `None` when the conversation is over.
    pub(super) fn next_prompt(&mut self) -> Option<String> {
        loop {
            if let Some(prompt) = self.waiting.pop_front() {
                return Some(prompt);
            }
            match self.input.recv().unwrap_or(Input::Closed) {
                Input::Closed => return None,
                // With no turn running there is nothing to interrupt.
                input => drop(self.heed(input)),
            }
        }
    }

    /// Runs one turn: everything from the prompt to its result. Tells whether it ended well.
    pub(super) fn turn(&mut self, story: impl FnOnce(&mut Talk<W>) -> Result<(), Stopped>) -> bool {
        let began = Instant::now();
        (self.messages, self.in_tool) = (0, false);
        self.last.clear();
        self.wire.init();
        let ended = story(self);
        if ended == Err(Stopped::Interrupted) {
            self.wire.interrupted(self.in_tool);
        }
        let last = std::mem::take(&mut self.last);
        self.wire.result(&Ending {
            text: &last,
            took: began.elapsed(),
            messages: self.messages,
            interrupted: ended.is_err(),
        });
        ended.is_ok()
    }

    /// The turn's last words.
    pub(super) fn conclude(&mut self, text: &str) -> Result<(), Stopped> {
        self.begin();
        self.speak(text)?;
        self.wire.end_message("end_turn");
        text.clone_into(&mut self.last);
        Ok(())
    }

    /// Says why, and runs a command.
    pub(super) fn bash(
        &mut self,
        why: &str,
        command: &str,
        description: &str,
    ) -> Result<Ran, Stopped> {
        self.begin();
        self.speak(why)?;
        let id = self
            .wire
            .tool(&json!({"command": command, "description": description}));
        self.wire.end_message("tool_use");
        self.in_tool = true;
        let mut stopped = None;
        let ran = tool::run(command, || {
            stopped = self.look().err();
            stopped.is_some()
        });
        let (text, error, detail, ran) = told(ran);
        self.wire.tool_result(&id, &text, error, &detail);
        if let Some(stopped) = stopped {
            return Err(stopped);
        }
        self.in_tool = false;
        Ok(ran)
    }

    fn begin(&mut self) {
        self.messages += 1;
        self.wire.begin_message();
    }

    fn speak(&mut self, text: &str) -> Result<(), Stopped> {
        self.wire.begin_text();
        for (index, token) in text.split_inclusive([' ', '\n']).enumerate() {
            self.wire.text(token);
            self.pause(PACE[index % PACE.len()])?;
        }
        self.wire.end_text(text);
        Ok(())
    }

    /// Lets time pass, but not unheeding.
    fn pause(&mut self, time: Duration) -> Result<(), Stopped> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.input.recv_timeout(left) {
                Ok(input) => self.heed(input)?,
                Err(RecvTimeoutError::Timeout) => return self.still_read(),
                Err(RecvTimeoutError::Disconnected) => return Err(Stopped::Closed),
            }
        }
    }

    /// Heeds what has come, without waiting.
    fn look(&mut self) -> Result<(), Stopped> {
        loop {
            match self.input.try_recv() {
                Ok(input) => self.heed(input)?,
                Err(TryRecvError::Empty) => return self.still_read(),
                Err(TryRecvError::Disconnected) => return Err(Stopped::Closed),
            }
        }
    }

    fn still_read(&self) -> Result<(), Stopped> {
        if self.wire.is_open() {
            Ok(())
        } else {
            Err(Stopped::Closed)
        }
    }

    fn heed(&mut self, input: Input) -> Result<(), Stopped> {
        match input {
            Input::Closed => return Err(Stopped::Closed),
            Input::Prompt(text) if self.waiting.len() < MAX_WAITING => self.waiting.push_back(text),
            Input::Prompt(_) => {}
            Input::Control { id, request } => match request {
                Control::Initialize => {
                    let models = json!([{"value": "sonnet", "displayName": "Scripted"}]);
                    self.wire.answer(
                        &id,
                        Some(json!({"commands": [], "models": models, "account": {}})),
                    );
                }
                Control::SetModel(model) => {
                    self.wire.model = model;
                    self.wire.answer(&id, None);
                }
                Control::Interrupt => {
                    self.wire.answer(&id, None);
                    return Err(Stopped::Interrupted);
                }
                Control::Unknown(name) => self
                    .wire
                    .refuse(&id, &format!("the scripted agent has no {name}")),
            },
        }
        Ok(())
    }
}

/// A tool's end as the result tells it: text, whether it failed, the detail beside it, and what ran.
fn told(ran: std::io::Result<Option<Ran>>) -> (String, bool, Value, Ran) {
    match ran {
        Ok(Some(ran)) if ran.ok() => {
            let detail = json!({
                "stdout": ran.stdout.trim_end(), "stderr": ran.stderr.trim_end(),
                "interrupted": false, "isImage": false, "noOutputExpected": false
            });
            (ran.text(), false, detail, ran)
        }
        Ok(Some(ran)) => {
            let code = ran.code.map_or("137".to_owned(), |code| code.to_string());
            let text = format!("Exit code {code}\n{}", ran.text());
            let detail = json!(format!("Error: {text}"));
            (text, true, detail, ran)
        }
        Ok(None) => (
            "The tool use was interrupted.".to_owned(),
            true,
            json!("User rejected tool use"),
            Ran::default(),
        ),
        Err(error) => {
            let text = format!("the command could not be started: {error}");
            (
                text.clone(),
                true,
                json!(text.clone()),
                Ran {
                    stderr: text,
                    ..Ran::default()
                },
            )
        }
    }
}
