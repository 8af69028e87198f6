//! Settings that work but are risky, until they are changed as the remedy says.

use std::fs;

use super::deployment::{Deployment, set_mode};

#[test]
fn secret_files_readable_by_others_are_red() {
    let deployment = Deployment::new();
    for secret in ["token", "api_key"] {
        set_mode(&deployment.path(secret), 0o644);
        let remedy = format!("chmod 600 {}", deployment.shown(secret));
        let remedies = deployment.finds(&[("config.secrets", "red")], &remedy);
        deployment.carry_out(&remedies[0], "chmod");
        deployment.is_well();
    }
}

#[test]
fn pinned_keys_writable_by_others_are_red() {
    let deployment = Deployment::new();
    set_mode(&deployment.path("known_hosts"), 0o666);
    let remedies = deployment.finds(&[("config.host_keys", "red")], "chmod go-w");
    deployment.carry_out(&remedies[0], "chmod");
    deployment.is_well();
}

#[test]
fn token_that_is_not_random_is_amber() {
    let deployment = Deployment::new();
    deployment.write("token", "correct-horse-correct-horse-battery-staple", 0o600);
    let remedies = deployment.finds(&[("config.token", "amber")], "auth.token_file");
    let made = deployment.carry_out(&remedies[0], "openssl").stdout;
    fs::write(deployment.path("token"), made).unwrap();
    deployment.is_well();
}

#[test]
fn trusted_proxy_that_is_this_machine_or_a_guest_is_red() {
    for (listed, word) in [
        ("127.0.0.1", "API token"),
        ("127.0.0.0/8", "API token"),
        ("127.7.7.7", "network namespace"),
        ("::1", "of its own"),
    ] {
        let deployment = Deployment::new();
        let proxies = format!("trusted_proxies = [\"{listed}\"]\n");
        deployment.edit("[auth]\n", &format!("[auth]\n{proxies}"));
        deployment.finds(&[("config.trusted_proxies", "red")], word);
        deployment.edit(&proxies, "trusted_proxies = [\"10.42.3.7\"]\n");
        deployment.is_well();
    }
}

#[test]
fn risky_settings_are_amber_until_changed_as_the_remedy_says() {
    let proxies = "trusted_proxies = [\"10.0.0.0/8\"]\n";
    let narrow = "trusted_proxies = [\"10.42.3.7\"]\n";
    for (from, to, check, word, fixed) in [
        (
            "[auth]\n",
            &*format!("[auth]\n{proxies}"),
            "config.trusted_proxies",
            "auth.trusted_proxies",
            [proxies, narrow],
        ),
        (
            "\"pin\"",
            "\"accept-any\"",
            "config.host_keys",
            "set ssh.host_keys = \"pin\"",
            ["\"accept-any\"", "\"pin\""],
        ),
        (
            "127.0.0.1:8080",
            "0.0.0.0:8080",
            "config.listen",
            "set listen",
            ["0.0.0.0:8080", "127.0.0.1:8080"],
        ),
        (
            "127.0.0.1:8080",
            "192.0.2.7:8080",
            "config.listen",
            "auth.secure_cookie = true",
            ["[auth]\n", "[auth]\nsecure_cookie = true\n"],
        ),
    ] {
        let deployment = Deployment::new();
        deployment.edit(from, to);
        deployment.finds(&[(check, "amber")], word);
        deployment.edit(fixed[0], fixed[1]);
        deployment.is_well();
    }
}

#[test]
fn host_name_instead_of_an_address_is_amber() {
    let deployment = Deployment::new();
    let port = deployment.guest.port;
    let pins = fs::read_to_string(deployment.path("known_hosts")).unwrap();
    let named = pins.replace(
        &format!("[127.0.0.1]:{port}"),
        &format!("[localhost]:{port}"),
    );
    deployment.write("known_hosts", &format!("{pins}{named}"), 0o600);
    deployment.edit("host = \"127.0.0.1\"", "host = \"localhost\"");
    deployment.finds(&[("config.addresses", "amber")], "write addresses");
    deployment.edit("host = \"localhost\"", "host = \"127.0.0.1\"");
    deployment.is_well();
}
