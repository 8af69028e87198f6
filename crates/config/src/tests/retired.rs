//! Keys of earlier versions.

use super::*;
use crate::retired::{MOVED_KEYS, RETIRED_KEYS};

#[test]
fn every_retired_key_is_a_warning_that_says_what_to_do() {
    let secrets = Secrets::new();
    for retired in &RETIRED_KEYS {
        let (section, key) = (retired.section, retired.key);
        // Inline, because MINIMAL already has some of the sections.
        let source = MINIMAL.replace(
            &format!("[{section}]\n"),
            &format!("[{section}]\n{key} = 7\n"),
        );
        let source = if source == MINIMAL {
            format!("{MINIMAL}[{section}]\n{key} = 7\n")
        } else {
            source
        };
        let (config, warnings) = secrets.load(&source, &[]).unwrap();
        let lines: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        let start = format!("{section}.{key}: was retired in 0.2.0: ");
        let found = lines
            .iter()
            .any(|line| line.contains(&start) && line.ends_with("; remove the line"));
        assert!(found, "{start}: {lines:?}");
        let (unchanged, _) = secrets.load(MINIMAL, &[]).unwrap();
        assert_eq!(format!("{config:?}"), format!("{unchanged:?}"), "{key}");
        let variable = format!("BREAKGLASS_{section}__{key}").to_uppercase();
        let (_, warnings) = secrets.load(MINIMAL, &[(&variable, "7")]).unwrap();
        let found = warnings
            .iter()
            .any(|warning| warning.to_string().ends_with("; remove the variable"));
        assert!(found, "{variable}: {warnings:?}");
    }
}

#[test]
fn moved_keys_are_read_with_a_warning_and_refused_beside_their_new_name() {
    let secrets = Secrets::new();
    let old = "public_url = \"https://rescue.example.org\"\n";
    let receiver = "name = \"phone\"\nurl = \"https://example.org/hook\"\n";
    let source = format!("{old}{MINIMAL}[[notify]]\n{receiver}");
    let (config, warnings) = secrets.load(&source, &[]).unwrap();
    assert!(config.notify.public_url.is_some());
    assert_eq!(config.notify.receivers[0].name, "phone");
    for (old, new) in MOVED_KEYS {
        let expected = format!("{old}: was moved to notifications.{new} in 0.2.0; write it there");
        let found = warnings
            .iter()
            .any(|warning| warning.to_string().ends_with(&expected));
        assert!(found, "{expected}: {warnings:?}");
    }
    let both = format!("{source}[[notifications.receivers]]\n{receiver}");
    let errors = secrets.load(&both, &[]).unwrap_err();
    assert_eq!(errors[0].key, "notify");
}
