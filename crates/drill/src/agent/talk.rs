//! A conversation: speaks word by word, runs commands, and can be interrupted at any time.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::input::Input;
use super::tool::{self, Ran};
use super::wire::{TurnResult, Wire};

/// Maximum number of prompts that wait while a turn runs.
const WAITING_PROMPTS_MAX: usize = 8;
/// The pauses between words: fast enough to read, slow enough to see.
const WORD_PAUSES_MS: [u64; 3] = [15, 25, 19];

/// Why a turn ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    Interrupted,
    /// Stdin or stdout is closed.
    Closed,
}

pub(super) struct Talk {
    wire: Wire,
    input: Receiver<Input>,
    waiting: VecDeque<String>,
    /// Messages of the current turn.
    messages: u32,
    /// Whether the turn was interrupted while a tool ran.
    in_tool: bool,
    conclusion: String,
}

impl Talk {
    pub(super) fn new(wire: Wire, input: Receiver<Input>) -> Talk {
        Talk {
            wire,
            input,
            waiting: VecDeque::new(),
            messages: 0,
            in_tool: false,
            conclusion: String::new(),
        }
    }

    /// The next prompt; `None` at the end of the conversation.
    pub(super) fn next_prompt(&mut self) -> Option<String> {
        while self.waiting.is_empty() {
            match self.input.recv().unwrap_or(Input::Closed) {
                Input::Closed => return None,
                // Between turns there is nothing to interrupt.
                input => drop(self.handle(input)),
            }
        }
        self.waiting.pop_front()
    }

    /// Runs one turn, from the prompt to its result. Returns whether it completed.
    pub(super) fn turn(&mut self, story: impl FnOnce(&mut Talk) -> Result<(), Stopped>) -> bool {
        let began = Instant::now();
        (self.messages, self.in_tool) = (0, false);
        self.conclusion.clear();
        self.wire.init();
        let ended = story(self);
        if ended == Err(Stopped::Interrupted) {
            self.wire.interrupted(self.in_tool);
        }
        self.wire.result(&TurnResult {
            text: &self.conclusion,
            duration: began.elapsed(),
            messages: self.messages,
            interrupted: ended.is_err(),
        });
        ended.is_ok()
    }

    /// Says the last message of the turn.
    pub(super) fn conclude(&mut self, text: &str) -> Result<(), Stopped> {
        self.speak(text)?;
        self.wire.end_message("end_turn");
        text.clone_into(&mut self.conclusion);
        Ok(())
    }

    /// Says `why`, and runs a command.
    pub(super) fn bash(&mut self, why: &str, command: &str, title: &str) -> Result<Ran, Stopped> {
        self.speak(why)?;
        let input = json!({"command": command, "description": title});
        let id = self.wire.tool(&input);
        self.wire.end_message("tool_use");
        self.in_tool = true;
        let mut stopped = None;
        let ran = tool::run(command, || {
            stopped = self.pause(Duration::ZERO).err();
            stopped.is_some()
        });
        let ran = ran.unwrap_or_else(|error| {
            Some(Ran {
                stderr: format!("the command could not be started: {error}"),
                ..Ran::default()
            })
        });
        self.wire.tool_result(&id, ran.as_ref());
        if let Some(stopped) = stopped {
            return Err(stopped);
        }
        self.in_tool = false;
        Ok(ran.unwrap_or_default())
    }

    fn speak(&mut self, text: &str) -> Result<(), Stopped> {
        self.messages += 1;
        self.wire.begin_message();
        self.wire.begin_text();
        for (index, word) in text.split_inclusive([' ', '\n']).enumerate() {
            self.wire.text(word);
            let pause = WORD_PAUSES_MS[index % WORD_PAUSES_MS.len()];
            self.pause(Duration::from_millis(pause))?;
        }
        self.wire.end_text(text);
        Ok(())
    }

    /// Waits for `time`, and handles input meanwhile.
    fn pause(&mut self, time: Duration) -> Result<(), Stopped> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.input.recv_timeout(left) {
                Ok(input) => self.handle(input)?,
                Err(RecvTimeoutError::Timeout) if self.wire.is_open() => return Ok(()),
                Err(_) => return Err(Stopped::Closed),
            }
        }
    }

    fn handle(&mut self, input: Input) -> Result<(), Stopped> {
        match input {
            Input::Closed => Err(Stopped::Closed),
            Input::Prompt(text) => {
                if self.waiting.len() < WAITING_PROMPTS_MAX {
                    self.waiting.push_back(text);
                }
                Ok(())
            }
            Input::Control { id, request } => self.control(&id, &request),
        }
    }

    fn control(&mut self, id: &str, request: &Value) -> Result<(), Stopped> {
        match request["subtype"].as_str().unwrap_or_default() {
            "initialize" => {
                let models = json!([{"value": "sonnet", "displayName": "Scripted"}]);
                let response = json!({"commands": [], "models": models, "account": {}});
                self.wire.answer(id, Some(response));
            }
            "set_model" => {
                let model = request["model"].as_str().unwrap_or_default();
                model.clone_into(&mut self.wire.model);
                self.wire.answer(id, None);
            }
            "interrupt" => {
                self.wire.answer(id, None);
                return Err(Stopped::Interrupted);
            }
            other => {
                let message = format!("the scripted agent does not support {other}");
                self.wire.refuse(id, &message);
            }
        }
        Ok(())
    }
}
