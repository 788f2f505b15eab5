//! Variables, and what is wrong with them.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::ErrorKind;
use std::iter;

/// Settings are bad or missing: a line for each, which names it and never shows its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines.join("\n"))]
pub(crate) struct SettingsError {
    lines: Vec<String>,
}

impl SettingsError {
    pub(crate) fn new(variable: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self { lines: vec![format!("{variable} {reason}")] }
    }

    fn and(mut self, other: Self) -> Self {
        self.lines.extend(other.lines);
        self
    }
}

/// Both values, or what is wrong with either.
pub(crate) fn both<A, B>(
    one: Result<A, SettingsError>,
    other: Result<B, SettingsError>,
) -> Result<(A, B), SettingsError> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(one), Err(other)) => Err(one.and(other)),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
    }
}

/// A setting that only the environment gives, because command lines are visible to others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    /// What `--help` says of it; it may have several lines.
    pub(super) help: &'static str,
    pub(crate) default: Option<&'static str>,
}

impl Variable {
    /// Its value without the white space around it; one that is empty is unset.
    pub(super) fn read(&self) -> Result<Option<String>, SettingsError> {
        variable(self.name)
    }

    pub(super) fn error(&self, reason: impl fmt::Display) -> SettingsError {
        SettingsError::new(self.name, reason)
    }
}

/// What `--help` says of these variables, below this heading.
pub(super) fn help_of(heading: &str, variables: &[Variable]) -> String {
    let mut help = format!("{heading} (or a .env file in the working directory):");
    for Variable { name, help: meaning, default } in variables {
        let default = default.map(|value| format!("[default: {value}]"));
        let lines = meaning.lines().chain(default.as_deref());
        for (name, line) in iter::once(*name).chain(iter::repeat("")).zip(lines) {
            help.push_str(&format!("\n  {name:<22}  {line}"));
        }
    }
    help
}

/// Sets what the `.env` file gives and the environment does not.
pub(crate) fn load_dotenv() -> Result<(), dotenvy::Error> {
    let variables = match dotenvy::from_path_iter(".env") {
        Err(dotenvy::Error::Io(error)) if error.kind() == ErrorKind::NotFound => return Ok(()),
        variables => variables?.collect::<Result<Vec<_>, _>>()?,
    };
    for (name, value) in variables {
        if value.contains('\0') {
            // No variable can hold it.
            return Err(dotenvy::Error::Io(ErrorKind::InvalidData.into()));
        }
        if environment(&name).is_none() {
            set_variable(name.as_ref(), Some(&value));
        }
    }
    Ok(())
}

/// Drops the white space around the values of these variables, and removes those that are then empty.
pub(crate) fn trim_variables<'a>(names: impl Iterator<Item = &'a OsStr>) -> Result<(), SettingsError> {
    let mut trimmed = Ok(());
    for name in names {
        let value = variable(name);
        // One that is no text is removed, for clap would not name it.
        set_variable(name, value.as_ref().ok().and_then(Option::as_deref));
        trimmed = both(trimmed, value).map(drop);
    }
    trimmed
}

fn set_variable(name: &OsStr, value: Option<&str>) {
    // SAFETY: the environment must not change while another thread reads it, and there is no other thread until a
    // command runs.
    #[expect(unsafe_code, reason = "clap reads variables from the environment alone")]
    unsafe {
        match value {
            Some(value) => std::env::set_var(name, value),
            None => std::env::remove_var(name),
        }
    }
}

/// A variable of the environment; one that is empty, or nothing but white space, is unset.
pub(crate) fn environment(name: impl AsRef<OsStr>) -> Option<OsString> {
    #[expect(clippy::disallowed_methods, reason = "this is where settings are read")]
    std::env::var_os(name).filter(|value| value.to_str().is_none_or(|value| !value.trim().is_empty()))
}

/// The same as text, without the white space around it.
fn variable(name: impl AsRef<OsStr>) -> Result<Option<String>, SettingsError> {
    let name = name.as_ref();
    let not_utf8 = |_| SettingsError::new(name.display(), "must be UTF-8");
    let value = environment(name).map(OsString::into_string).transpose().map_err(not_utf8)?;
    Ok(value.map(|value| value.trim().to_owned()))
}
