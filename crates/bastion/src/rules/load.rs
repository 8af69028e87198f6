//! Parses a rule file, and reports all its faults together.

use serde::Deserialize;

use super::kind::Kind;
use super::rule::{Operands, Opt, Rule, Style, Value};
use super::wrappers::WRAPPERS;

/// One fault of a rule file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFault {
    /// The file.
    pub origin: String,
    /// The rule's name; empty if the whole file can't be parsed.
    pub rule: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// All faults of a rule file; none of its rules is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct RulesError(pub Vec<RuleFault>);

impl std::fmt::Display for RulesError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            let RuleFault {
                origin,
                rule,
                reason,
            } = fault;
            if rule.is_empty() {
                write!(f, "{end}{origin}: {reason}")?;
            } else {
                write!(f, "{end}{origin}: rule `{rule}`: {reason}")?;
            }
        }
        Ok(())
    }
}

/// A rule with the two commands that test it.
pub(super) struct Loaded {
    pub(super) rule: Rule,
    pub(super) origin: String,
    pub(super) example: String,
    pub(super) counter_example: String,
}

impl Loaded {
    pub(super) fn fault(&self, reason: String) -> RuleFault {
        RuleFault {
            origin: self.origin.clone(),
            rule: self.rule.name.clone(),
            reason,
        }
    }
}

/// A rule as it is written in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    programs: Vec<String>,
    #[serde(default)]
    style: WrittenStyle,
    #[serde(default)]
    subcommands: Vec<String>,
    /// Short options without a value, each a letter.
    #[serde(default)]
    flags: String,
    #[serde(default)]
    options: Vec<String>,
    #[serde(default)]
    global: Vec<String>,
    #[serde(default)]
    require: Vec<String>,
    operands: Vec<String>,
    example: String,
    counter_example: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum WrittenStyle {
    #[default]
    Getopt,
    Words,
    Plain,
}

/// Parses the rules of `text`; their examples are not tested yet.
pub(super) fn read(text: &str, origin: &str) -> (Vec<Loaded>, Vec<RuleFault>) {
    let fault = |rule: &str, reason: String| RuleFault {
        origin: origin.to_owned(),
        rule: rule.to_owned(),
        reason,
    };
    let tables = match tables(text) {
        Ok(tables) => tables,
        Err(why) => return (Vec::new(), vec![fault("", why)]),
    };
    let mut rules = Vec::new();
    let mut faults = Vec::new();
    for (at, table) in tables.into_iter().enumerate() {
        let name = table.get("name").and_then(toml::Value::as_str);
        let name = name.map_or_else(|| format!("number {}", at + 1), str::to_owned);
        let written: Written = match table.try_into() {
            Ok(written) => written,
            Err(error) => {
                faults.push(fault(&name, error.message().to_owned()));
                continue;
            }
        };
        let (example, counter_example) = (written.example.clone(), written.counter_example.clone());
        match compile(written) {
            Ok(rule) => rules.push(Loaded {
                rule,
                origin: origin.to_owned(),
                example,
                counter_example,
            }),
            Err(reasons) => faults.extend(reasons.into_iter().map(|why| fault(&name, why))),
        }
    }
    (rules, faults)
}

fn tables(text: &str) -> Result<Vec<toml::Table>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default)]
        rule: Vec<toml::Table>,
    }
    toml::from_str::<File>(text)
        .map(|file| file.rule)
        .map_err(|error| error.to_string().trim_end().to_owned())
}

fn compile(written: Written) -> Result<Rule, Vec<String>> {
    let mut wrong = Vec::new();
    let mut keep = |result: Result<Vec<Opt>, String>| {
        result.unwrap_or_else(|why| {
            wrong.push(why);
            Vec::new()
        })
    };
    let flags = written.flags.chars().map(|letter| {
        let name = format!("-{letter}");
        option(&name, false)
    });
    let mut options = keep(flags.collect());
    options.extend(keep(each(&written.options, false)));
    options.extend(keep(each(&written.global, true)));
    let operands = operands(&written.operands).unwrap_or_else(|why| {
        wrong.push(why);
        Operands::default()
    });
    let split = |text: &String, by: &str| text.split(by).map(str::to_owned).collect();
    let rule = Rule {
        style: match written.style {
            WrittenStyle::Getopt => Style::Getopt,
            WrittenStyle::Words => Style::Words,
            WrittenStyle::Plain => Style::Plain,
        },
        subcommands: written
            .subcommands
            .iter()
            .map(|text| text.split_whitespace().map(str::to_owned).collect())
            .collect(),
        require: written.require.iter().map(|it| split(it, "|")).collect(),
        name: written.name,
        programs: written.programs,
        options,
        operands,
    };
    wrong.extend(inconsistencies(&rule));
    if wrong.is_empty() {
        Ok(rule)
    } else {
        Err(wrong)
    }
}

fn each(texts: &[String], global: bool) -> Result<Vec<Opt>, String> {
    texts.iter().map(|text| option(text, global)).collect()
}

/// `-x`, `--long`, `-n=number`, `--color?word`.
fn option(text: &str, global: bool) -> Result<Opt, String> {
    let (name, value) = match text.find(['=', '?']) {
        None => (text, Value::Never),
        Some(at) => {
            let kind = kind(&text[at + 1..])?;
            let required = text[at..].starts_with('=');
            let value = if required {
                Value::Required(kind)
            } else {
                Value::Attached(kind)
            };
            (&text[..at], value)
        }
    };
    if matches!(name, "" | "-" | "--") || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("`{text}` is not an option"));
    }
    Ok(Opt {
        name: name.to_owned(),
        value,
        global,
    })
}

fn kind(name: &str) -> Result<Kind, String> {
    Kind::named(name).ok_or_else(|| {
        let names: Vec<_> = Kind::ALL.iter().map(|(name, _)| *name).collect();
        format!(
            "`{name}` is not a kind of word; the kinds are {}",
            names.join(", ")
        )
    })
}

/// `["text", "file..."]`.
fn operands(texts: &[String]) -> Result<Operands, String> {
    let mut operands = Operands::default();
    for text in texts {
        if operands.rest.is_some() {
            return Err("operands: no other can follow one that ends in `...`".to_owned());
        }
        match text.strip_suffix("...") {
            Some(name) => operands.rest = Some(kind(name)?),
            None => operands.single.push(kind(text)?),
        }
    }
    Ok(operands)
}

/// Faults of a rule as a whole, whose parts are valid.
fn inconsistencies(rule: &Rule) -> Vec<String> {
    let mut wrong = Vec::new();
    if rule.name.is_empty() {
        wrong.push("its name is empty".to_owned());
    }
    if rule.programs.is_empty() {
        wrong.push("it names no program".to_owned());
    }
    for program in &rule.programs {
        if WRAPPERS.contains(&program.as_str()) {
            wrong.push(format!(
                "`{program}` runs another program, which is judged instead"
            ));
        } else if program.is_empty() || !program.bytes().all(in_name) {
            wrong.push(format!("`{program}` is not a program's bare name"));
        }
    }
    for (at, option) in rule.options.iter().enumerate() {
        if rule.options[..at].iter().any(|it| it.name == option.name) {
            wrong.push(format!("the option `{}` is listed twice", option.name));
        }
    }
    for name in rule.require.iter().flatten() {
        if !rule.options.iter().any(|it| it.name == *name) {
            wrong.push(format!(
                "it requires `{name}`, which is not one of its options"
            ));
        }
    }
    wrong
}

fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._+-".contains(&byte)
}
