use super::*;

const MEMBERS: &str = "{\"nodename\": \"pve\", \"version\": 4, \"cluster\": {\"name\": \"lab\", \
                       \"version\": 3, \"nodes\": 3, \"quorate\": 1}, \"nodelist\": {}}";
const VMLIST: &str = "{\"version\": 7, \"ids\": {\"102\": {\"node\": \"pve\", \"type\": \"qemu\", \
                      \"version\": 6}}}";

fn some(text: &str) -> Text {
    Ok(Some(text.to_owned()))
}

fn unreadable() -> Text {
    Err("the file: no answer within 3 s".to_owned())
}

fn healthy() -> ClusterFiles {
    ClusterFiles {
        dir: PathBuf::from("/etc/pve"),
        members: some(MEMBERS),
        vmlist: some(VMLIST),
        config: some("name: web01\n"),
        ..ClusterFiles::default()
    }
}

fn evidence(files: &ClusterFiles, pending: &str) -> Evidence {
    let mut evidence = Evidence::default();
    files.add_evidence("102", &Ok(pending.to_owned()), &mut evidence);
    evidence
}

#[test]
fn every_part_of_the_way_back_is_required() {
    type Row = (fn(&mut ClusterFiles), Option<&'static str>);
    let rows: [Row; 15] = [
        (|_| {}, None),
        (
            |f| f.members = some("{\"nodename\": \"pve\", \"version\": 2}"),
            None,
        ),
        (|f| f.storage = unreadable(), None),
        (|f| f.resources = some("vm: 102\n\tstate started\n"), None),
        (
            |f| f.members = Ok(None),
            Some("systemctl restart pve-cluster"),
        ),
        (|f| f.members = unreadable(), Some("no answer within 3 s")),
        (
            |f| f.members = some(&MEMBERS.replace("quorate\": 1", "quorate\": 0")),
            Some("quorum"),
        ),
        (|f| f.vmlist = Ok(None), Some("does not answer")),
        (
            |f| f.vmlist = some(&VMLIST.replace("\"pve\"", "\"pve2\"")),
            Some("is on node pve2"),
        ),
        (
            |f| f.vmlist = some("{\"ids\": {}}"),
            Some("no node of the cluster"),
        ),
        (
            |f| f.vmlist = some(&VMLIST.replace("qemu", "lxc")),
            Some("of type lxc"),
        ),
        (|f| f.config = Ok(None), Some("is missing")),
        (|f| f.config = some("template: 1\n"), Some("template")),
        (
            |f| f.resources = unreadable(),
            Some("unknown whether high availability"),
        ),
        (
            |f| f.missing_drive = Some(PathBuf::from("/x.iso")),
            Some("names /x.iso, which does not exist"),
        ),
    ];
    for (number, (change, expected)) in rows.iter().enumerate() {
        let mut files = healthy();
        change(&mut files);
        let why = evidence(&files, "cur name: web01\n").way_back.proof().err();
        match (why, expected) {
            (None, None) => {}
            (Some(why), Some(words)) => assert!(why.contains(words), "row {number}: {why}"),
            (why, _) => unreachable!("row {number}: {why:?}"),
        }
    }
}

#[test]
fn qm_without_a_valid_answer_proves_nothing() {
    for pending in ["", "\n", "usage: qm <COMMAND>\n", "ERROR: unknown command"] {
        let seen = evidence(&healthy(), pending);
        assert!(seen.way_back.proof().is_err(), "{pending:?}");
    }
    let mut evidence = Evidence::default();
    healthy().add_evidence(
        "102",
        &Err("qm pending: signal: 11".to_owned()),
        &mut evidence,
    );
    assert!(
        evidence
            .way_back
            .proof()
            .unwrap_err()
            .contains("signal: 11")
    );
}

#[test]
fn truncated_files_prove_nothing() {
    for at in 0..MEMBERS.len() {
        let mut files = healthy();
        files.members = some(&MEMBERS[..at]);
        let seen = evidence(&files, "cur name: web01\n");
        assert!(seen.way_back.proof().is_err(), "{at}");
        assert_eq!(seen.location, Location::ThisHost, "{at}");
    }
    for at in 0..VMLIST.len() {
        let mut files = healthy();
        files.vmlist = some(&VMLIST[..at]);
        let seen = evidence(&files, "cur name: web01\n");
        assert!(seen.way_back.proof().is_err(), "{at}");
        assert_eq!(seen.location, Location::ThisHost, "{at}");
    }
}

#[test]
fn requested_state_is_read_from_the_section_of_the_guest() {
    let managed = |state: &str| HighAvailability::Managed(state.to_owned());
    for (text, expected) in [
        ("", HighAvailability::NotManaged),
        ("vm: 102\n", managed("started")),
        ("vm: 102\n\tstate enabled\n", managed("started")),
        (
            "vm: 102\n\tgroup all\n\tstate stopped\n\nvm: 103\n\tstate started\n",
            managed("stopped"),
        ),
        ("vm: 102\n\tstate disabled\n", managed("disabled")),
        ("vm: 102\n\tstate ignored\n", HighAvailability::NotManaged),
        (
            "vm: 103\n\tstate started\n\nct: 102\n\tstate started\n",
            HighAvailability::NotManaged,
        ),
    ] {
        let mut files = healthy();
        files.resources = some(text);
        assert_eq!(evidence(&files, "").ha, expected, "{text:?}");
    }
    let mut files = healthy();
    files.resources = Ok(None);
    assert_eq!(evidence(&files, "").ha, HighAvailability::NotManaged);
    files.members = Ok(None);
    assert!(
        matches!(evidence(&files, "").ha, HighAvailability::Unknown(_)),
        "nothing is mounted there"
    );
}
