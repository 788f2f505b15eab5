//! Tells the program which commit it was built from: `COMMIT`, where the build has no repository (in an
//! image, say), or what git says.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=COMMIT");
    println!("cargo::rerun-if-changed=../../.git/HEAD");
    println!("cargo::rerun-if-changed=../../.git/refs");
    #[expect(clippy::disallowed_methods, reason = "a build has no settings")]
    let given = std::env::var("COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(from_git).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=COMMIT={commit}");
}

fn from_git() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
