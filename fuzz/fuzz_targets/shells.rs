//! Every shell runs a line that was judged read-only exactly with the programs and words that were judged. The input
//! selects choices, from which lines are generated.
#![no_main]

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{LazyLock, Mutex, PoisonError};

use breakglass_bastion::{Judgement, Rules, split};
use breakglass_rig::shells::{self, Case, PROGRAMS, Shells};
use libfuzzer_sys::fuzz_target;

/// Number of lines per input.
const LINES: u32 = 16;
/// Number of lines per started shell.
const BATCH: usize = 1000;
/// Number of remembered lines, which are not run twice.
const REMEMBERED: usize = 4_000_000;

struct Asked {
    rules: Rules,
    shells: Shells,
    seen: HashSet<u64>,
    waiting: Vec<Case>,
    judged: u64,
    run: u64,
}

static ASKED: LazyLock<Mutex<Asked>> = LazyLock::new(|| {
    Mutex::new(Asked {
        rules: Rules::built_in().unwrap_or_else(|error| panic!("{error}")),
        shells: Shells::new(&PROGRAMS),
        seen: HashSet::new(),
        waiting: Vec::new(),
        judged: 0,
        run: 0,
    })
});

impl Asked {
    fn take(&mut self, line: String) {
        self.judged += 1;
        if !matches!(self.rules.judge(line.as_bytes()), Judgement::Reads(_)) {
            return;
        }
        if self.seen.len() >= REMEMBERED {
            self.seen.clear();
        }
        let case = case(line);
        if case.fits(&PROGRAMS) && self.seen.insert(hash(&case.line)) {
            self.waiting.push(case);
        }
        if self.waiting.len() >= BATCH {
            self.ask();
        }
    }

    fn ask(&mut self) {
        let differences = self.shells.differences(&self.waiting);
        assert!(differences.is_empty(), "{differences:#?}");
        self.run += self.waiting.len() as u64;
        self.waiting.clear();
        eprintln!("shells: {} lines judged, {} run, no difference", self.judged, self.run);
    }
}

fn case(line: String) -> Case {
    let commands = split(line.as_bytes()).unwrap_or_default();
    Case {
        line,
        pattern: commands.iter().flatten().any(|word| word.glob),
        programs: commands
            .into_iter()
            .map(|command| command.into_iter().map(|word| word.text).collect())
            .collect(),
    }
}

fn hash(it: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    it.hash(&mut hasher);
    hasher.finish()
}

fuzz_target!(|data: &[u8]| {
    let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut bytes = data.iter().copied();
    let mut state = hash(data) | 1;
    let mut next = || {
        bytes.next().unwrap_or_else(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[0]
        })
    };
    for _ in 0..LINES {
        asked.take(shells::line(&mut next));
    }
});
