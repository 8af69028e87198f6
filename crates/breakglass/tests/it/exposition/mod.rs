//! A strict reader of the Prometheus text format (version 0.0.4): anything that a scraper would refuse or
//! misunderstand is a panic.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code: a panic is the report"
)]

use std::collections::{BTreeMap, BTreeSet};

pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

type Labels = BTreeMap<String, String>;

struct Sample {
    name: String,
    labels: Labels,
    value: f64,
}

/// One scrape.
pub(crate) struct Exposition {
    kinds: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

impl Exposition {
    pub(crate) fn parse(text: &str) -> Exposition {
        assert!(text.ends_with('\n'), "the last line has no end");
        let (mut kinds, mut helps) = (BTreeMap::new(), BTreeSet::new());
        let (mut samples, mut current) = (Vec::new(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(!help.is_empty() && helps.insert(name.to_owned()), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(helps.contains(name), "{name} has no help");
                let known = kinds.insert(name.to_owned(), kind.to_owned());
                assert!(known.is_none(), "{name} comes twice");
                name.clone_into(&mut current);
            } else {
                let sample = sample(line);
                assert_eq!(family(&sample.name, &kinds), current, "{line}");
                samples.push(sample);
            }
        }
        let exposition = Exposition { kinds, samples };
        exposition.check();
        exposition
    }

    /// The names that `# TYPE` gives.
    pub(crate) fn families(&self) -> BTreeSet<String> {
        self.kinds.keys().cloned().collect()
    }

    /// The sample with exactly these labels.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let labels: Labels = labels.iter().map(owned).collect();
        let mut all = self.of(name);
        all.find(|sample| sample.labels == labels)
            .map(|sample| sample.value)
    }

    /// Over all labels.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.of(name).map(|sample| sample.value).sum()
    }

    fn of<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Sample> {
        self.samples
            .iter()
            .filter(move |sample| sample.name == name)
    }

    fn check(&self) {
        let mut seen = BTreeSet::new();
        for Sample {
            name,
            labels,
            value,
        } in &self.samples
        {
            let series = format!("{name} {labels:?}");
            assert!(seen.insert(series.clone()), "{series} comes twice");
            assert!(value.is_finite() && *value >= 0.0, "{series} is {value}");
        }
        for (name, kind) in &self.kinds {
            match kind.as_str() {
                "counter" => assert!(name.ends_with("_total"), "{name}"),
                "gauge" => assert!(!name.ends_with("_total"), "{name}"),
                "histogram" => self.check_histogram(name),
                other => panic!("{name} is a {other}"),
            }
        }
    }

    /// The buckets grow, the last is `+Inf`, and it is the count.
    fn check_histogram(&self, name: &str) {
        let (buckets, count) = (format!("{name}_bucket"), format!("{name}_count"));
        for Sample { labels, value, .. } in self.of(&count) {
            let (mut last, mut bound) = (0.0, f64::NEG_INFINITY);
            for bucket in self.of(&buckets) {
                let mut of = bucket.labels.clone();
                let le: f64 = of
                    .remove("le")
                    .unwrap()
                    .replace("+Inf", "inf")
                    .parse()
                    .unwrap();
                if of == *labels {
                    assert!(le > bound && bucket.value >= last, "{name} at {le}");
                    (bound, last) = (le, bucket.value);
                }
            }
            assert!(
                bound.is_infinite() && last == *value,
                "{name}: {last} of {value}"
            );
        }
    }
}

/// The family that a sample's name belongs to.
fn family(name: &str, kinds: &BTreeMap<String, String>) -> String {
    let histogram = |name: &&str| kinds.get(*name).is_some_and(|kind| kind == "histogram");
    let ends = ["_bucket", "_sum", "_count"].iter();
    let of = ends
        .filter_map(|end| name.strip_suffix(end))
        .find(histogram);
    of.unwrap_or(name).to_owned()
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = match series.split_once('{') {
        Some((name, rest)) => (name, labels(rest.strip_suffix('}').unwrap())),
        None => (series, Labels::new()),
    };
    assert_name(name, ':');
    let value = value
        .parse()
        .unwrap_or_else(|_| panic!("no number: {line}"));
    Sample {
        name: name.to_owned(),
        labels,
        value,
    }
}

fn labels(mut text: &str) -> Labels {
    let mut labels = Labels::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").unwrap();
        assert_name(name, '_');
        let (value, rest) = rest.split_once('"').unwrap();
        // No name of ours needs escaping: a target's has letters, digits and hyphens.
        assert!(!value.contains('\\'), "{value}");
        assert!(labels.insert(name.to_owned(), value.to_owned()).is_none());
        text = rest.strip_prefix(',').unwrap_or(rest);
    }
    labels
}

fn assert_name(name: &str, also: char) {
    let mut letters = name.chars();
    let first = letters.next().unwrap();
    assert!(first.is_ascii_alphabetic() || first == '_', "{name}");
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == also;
    assert!(letters.all(fits), "{name}");
}
