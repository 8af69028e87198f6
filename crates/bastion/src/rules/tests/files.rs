//! Rule files: what the operator adds, and what is said of a file that is wrong.

use crate::rules::{Judgement, Rules};

const PG: &str = r#"
[[rule]]
name = "pg-lsclusters"
programs = ["pg_lsclusters"]
flags = "h"
operands = []
example = "pg_lsclusters -h"
counter_example = "pg_lsclusters; pg_dropcluster 15 main"
"#;

fn faults(toml: &str) -> Vec<(String, String)> {
    let Err(error) = Rules::built_in().and_then(|rules| rules.and(toml, "extra.toml")) else {
        panic!("it loads");
    };
    let faults = error.0.into_iter();
    faults.map(|fault| (fault.rule, fault.reason)).collect()
}

#[test]
fn the_operators_own_rules_are_appended() {
    let rules = Rules::built_in().and_then(|rules| rules.and(PG, "extra.toml"));
    let rules = rules.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        rules.judge(b"pg_lsclusters -h | wc -l"),
        Judgement::Reads(vec!["pg-lsclusters".to_owned(), "wc".to_owned()])
    );
}

#[test]
fn all_that_is_wrong_is_said_at_once_with_rule_and_reason() {
    let toml = r#"
[[rule]]
name = "a"
programs = ["sudo", "/bin/a b"]
options = ["-n=figure"]
require = ["-x"]
operands = ["file...", "file"]
example = "a"
counter_example = "a > b"

[[rule]]
name = "b"
programs = ["b"]
operand = []
example = "b"
counter_example = "b > c"

[[rule]]
name = "c"
programs = ["c"]
operands = []
example = "c -x"
counter_example = "c"

[[rule]]
name = "cat"
programs = ["d"]
operands = []
example = "d"
counter_example = "e"
"#;
    let found = faults(toml);
    let names: Vec<_> = found.iter().map(|(rule, _)| rule.as_str()).collect();
    assert_eq!(
        names,
        ["a", "a", "a", "a", "a", "b", "c", "c", "cat", "cat"]
    );
    for (at, part) in [
        (0, "`figure` is not a kind of word"),
        (1, "no other can follow one that ends in `...`"),
        (2, "`sudo` runs another program"),
        (3, "is not a program's bare name"),
        (4, "requires `-x`"),
        (5, "operand"),
        (6, "its example `c -x` is not allowed"),
        (7, "its counter-example `c` is allowed by c"),
        (8, "another rule has this name"),
        (9, "its counter-example `e` runs none of its programs"),
    ] {
        assert!(found[at].1.contains(part), "{at}: {}", found[at].1);
    }
}

#[test]
fn a_rule_that_allows_the_counter_example_of_another_rule_is_refused() {
    let toml = r#"
[[rule]]
name = "any-find"
programs = ["find"]
style = "plain"
operands = ["text..."]
example = "find /"
counter_example = "find / > /tmp/x"
"#;
    let found = faults(toml);
    assert!(
        found
            .iter()
            .any(|(rule, why)| rule == "find" && why.ends_with("is allowed by any-find")),
        "{found:?}"
    );
}

#[test]
fn a_file_that_is_no_toml_says_where() {
    let Err(error) = Rules::built_in().and_then(|rules| rules.and("[[rule]", "extra.toml")) else {
        panic!("it loads");
    };
    let text = error.to_string();
    assert!(
        text.starts_with("extra.toml: TOML parse error at line 1"),
        "{text}"
    );
}
