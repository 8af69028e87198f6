//! Proxmox's section files: `storage.cfg`, `ha/resources.cfg`.

/// Whether `text` is a valid section file.
pub(super) fn is_section_file(text: &str) -> bool {
    let is_valid = |line: &str| {
        line.trim().is_empty() || line.starts_with(['#', ' ', '\t']) || header(line).is_some()
    };
    text.lines().all(is_valid)
}

/// The settings of the first section whose type and name are `wanted`.
pub(super) fn section(
    text: &str,
    wanted: impl Fn(&str, &str) -> bool,
) -> Option<Vec<(&str, &str)>> {
    let begins = |line: &&str| header(line).is_some_and(|(kind, id)| wanted(kind, id));
    let mut lines = text.lines().skip_while(|line| !begins(line));
    lines.next()?;
    let settings = lines.take_while(|line| line.starts_with([' ', '\t']));
    let settings = settings.map(str::trim).filter(|line| !line.is_empty());
    let pairs = settings.map(|line| {
        let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        (key, value.trim())
    });
    Some(pairs.collect())
}

/// The type and name in a section's first line, `TYPE: NAME`.
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
    fn section_ends_before_the_next_one_and_a_setting_may_have_no_value() {
        let text = "dir: local\n\tpath /var/lib/vz\n\tdisable\n\nnfs: nas\n\tnodes pve1,pve2\n";
        let find = |name: &str| section(text, |_, id| id == name);
        assert_eq!(
            find("local"),
            Some(vec![("path", "/var/lib/vz"), ("disable", "")])
        );
        assert_eq!(find("nas"), Some(vec![("nodes", "pve1,pve2")]));
        assert_eq!(find("lab"), None);
        assert!(
            is_section_file(text) && is_section_file("") && !is_section_file("vm: 102\nnonsense\n")
        );
    }
}
