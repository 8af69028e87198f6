use super::*;

const MEMBERS: &str = "{\"nodename\": \"pve\", \"version\": 4, \"cluster\": {\"name\": \"lab\", \
                       \"version\": 3, \"nodes\": 3, \"quorate\": 1}, \"nodelist\": {}}";
const VMLIST: &str = "{\"version\": 7, \"ids\": {\"102\": {\"node\": \"pve\", \"type\": \"qemu\", \
                      \"version\": 6}}}";

fn there(text: &str) -> Text {
    Ok(Some(text.to_owned()))
}

fn broken() -> Text {
    Err("the file: no answer within 3 s".to_owned())
}

fn healthy() -> Files {
    Files {
        dir: PathBuf::from("/etc/pve"),
        members: there(MEMBERS),
        vmlist: there(VMLIST),
        config: there("name: web01\n"),
        ..Files::default()
    }
}

fn told(files: &Files, pending: &str) -> Evidence {
    let mut seen = Evidence::default();
    files.tell("102", &Ok(pending.to_owned()), &mut seen);
    seen
}

#[test]
fn each_piece_of_the_way_back_is_needed() {
    type Row = (fn(&mut Files), Option<&'static str>);
    let rows: [Row; 15] = [
        (|_| {}, None),
        (
            |f| f.members = there("{\"nodename\": \"pve\", \"version\": 2}"),
            None,
        ),
        (|f| f.storage = broken(), None),
        (|f| f.resources = there("vm: 102\n\tstate started\n"), None),
        (
            |f| f.members = Ok(None),
            Some("systemctl restart pve-cluster"),
        ),
        (|f| f.members = broken(), Some("no answer within 3 s")),
        (
            |f| f.members = there(&MEMBERS.replace("quorate\": 1", "quorate\": 0")),
            Some("quorum"),
        ),
        (|f| f.vmlist = Ok(None), Some("does not answer")),
        (
            |f| f.vmlist = there(&VMLIST.replace("\"pve\"", "\"pve2\"")),
            Some("lives on node pve2"),
        ),
        (
            |f| f.vmlist = there("{\"ids\": {}}"),
            Some("no node of the cluster"),
        ),
        (
            |f| f.vmlist = there(&VMLIST.replace("qemu", "lxc")),
            Some("of type lxc"),
        ),
        (|f| f.config = Ok(None), Some("is missing")),
        (|f| f.config = there("template: 1\n"), Some("template")),
        (
            |f| f.resources = broken(),
            Some("whether high availability manages it"),
        ),
        (
            |f| f.lost = Some(PathBuf::from("/x.iso")),
            Some("names /x.iso, which is not there"),
        ),
    ];
    for (number, (change, expected)) in rows.iter().enumerate() {
        let mut files = healthy();
        change(&mut files);
        let why = told(&files, "cur name: web01\n").way_back.proven().err();
        match (why, expected) {
            (None, None) => {}
            (Some(why), Some(words)) => assert!(why.contains(words), "row {number}: {why}"),
            (why, _) => unreachable!("row {number}: {why:?}"),
        }
    }
}

#[test]
fn a_qm_without_an_answer_proves_nothing() {
    for pending in ["", "\n", "usage: qm <COMMAND>\n", "ERROR: unknown command"] {
        let seen = told(&healthy(), pending);
        assert!(seen.way_back.proven().is_err(), "{pending:?}");
    }
    let mut seen = Evidence::default();
    healthy().tell("102", &Err("qm pending: signal: 11".to_owned()), &mut seen);
    assert!(seen.way_back.proven().unwrap_err().contains("signal: 11"));
}

#[test]
fn what_is_cut_off_anywhere_proves_nothing() {
    for at in 0..MEMBERS.len() {
        let mut files = healthy();
        files.members = there(&MEMBERS[..at]);
        let seen = told(&files, "cur name: web01\n");
        assert!(seen.way_back.proven().is_err(), "{at}");
        assert_eq!(seen.home, Home::Here, "{at}");
    }
    for at in 0..VMLIST.len() {
        let mut files = healthy();
        files.vmlist = there(&VMLIST[..at]);
        let seen = told(&files, "cur name: web01\n");
        assert!(seen.way_back.proven().is_err(), "{at}");
        assert_eq!(seen.home, Home::Here, "{at}");
    }
}

#[test]
fn what_high_availability_is_said_to_want_is_read_from_its_own_section() {
    let managed = |state: &str| Ha::Managed(state.to_owned());
    for (text, expected) in [
        ("", Ha::No),
        ("vm: 102\n", managed("started")),
        ("vm: 102\n\tstate enabled\n", managed("started")),
        (
            "vm: 102\n\tgroup all\n\tstate stopped\n\nvm: 103\n\tstate started\n",
            managed("stopped"),
        ),
        ("vm: 102\n\tstate disabled\n", managed("disabled")),
        ("vm: 102\n\tstate ignored\n", Ha::No),
        (
            "vm: 103\n\tstate started\n\nct: 102\n\tstate started\n",
            Ha::No,
        ),
    ] {
        let mut files = healthy();
        files.resources = there(text);
        assert_eq!(told(&files, "").ha, expected, "{text:?}");
    }
    let mut files = healthy();
    files.resources = Ok(None);
    assert_eq!(told(&files, "").ha, Ha::No);
    files.members = Ok(None);
    assert!(
        matches!(told(&files, "").ha, Ha::Unknown(_)),
        "nothing is mounted there"
    );
}
