//! Proxmox's lists of sections: `storage.cfg`, `ha/resources.cfg`.

/// Whether every line of `text` belongs to a list of sections.
pub(crate) fn is_list(text: &str) -> bool {
    let belongs = |line: &str| {
        line.trim().is_empty() || line.starts_with(['#', ' ', '\t']) || header(line).is_some()
    };
    text.lines().all(belongs)
}

/// The settings of the first section for which `wanted`, by its type and its name.
pub(crate) fn section(
    text: &str,
    wanted: impl Fn(&str, &str) -> bool,
) -> Option<Vec<(&str, &str)>> {
    let begins = |line: &&str| header(line).is_some_and(|(kind, id)| wanted(kind, id));
    let mut lines = text.lines().skip_while(|line| !begins(line));
    lines.next()?;
    let settings = lines.take_while(|line| line.starts_with([' ', '\t']));
    let pair = |line: &'_ str| line.find(char::is_whitespace).unwrap_or(line.len());
    let settings = settings.map(str::trim).filter(|line| !line.is_empty());
    Some(
        settings
            .map(|line| line.split_at(pair(line)))
            .map(|(key, value)| (key, value.trim()))
            .collect(),
    )
}

/// The words of a section's first line, `TYPE: NAME`.
fn header(line: &str) -> Option<(&str, &str)> {
    let (kind, id) = line.split_once(':')?;
    let id = id.trim();
    let is_word = |word: &str| !word.is_empty() && !word.contains(char::is_whitespace);
    (is_word(kind) && is_word(id)).then_some((kind, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_ends_where_the_next_one_begins_and_a_line_may_be_a_word() {
        let text = "dir: local\n\tpath /var/lib/vz\n\tdisable\n\nnfs: nas\n\tnodes pve1,pve2\n";
        let find = |name: &str| section(text, |_, id| id == name);
        assert_eq!(
            find("local"),
            Some(vec![("path", "/var/lib/vz"), ("disable", "")])
        );
        assert_eq!(find("nas"), Some(vec![("nodes", "pve1,pve2")]));
        assert_eq!(find("lab"), None);
        assert!(is_list(text) && is_list("") && !is_list("vm: 102\nnonsense\n"));
    }
}
