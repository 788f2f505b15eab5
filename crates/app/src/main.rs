//! The program: settings, commands, and the composition root (`wiring.rs`) that wires everything.
//! No rules live here.

mod clock;
mod command_line;
mod commands;
#[cfg(test)]
mod documented_settings;
mod output;
mod settings;
mod store;
mod wiring;

use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, setrlimit};
use settings::SettingsError;

fn main() -> ExitCode {
    if let Err(error) = forbid_core_dumps() {
        command_line::complain(format!("core dumps cannot be forbidden, and they would hold the keys: {error}"));
        return ExitCode::FAILURE;
    }
    let command = match command_line::read() {
        Ok(command) => command,
        Err(code) => return code,
    };
    match commands::run(command) {
        Ok(code) => code,
        Err(error) => match error.downcast_ref::<SettingsError>() {
            Some(error) => {
                command_line::complain(error);
                ExitCode::from(2)
            }
            None => {
                // One line, also where a library's message has several.
                let message = format!("{error:#}");
                command_line::complain(message.split_whitespace().collect::<Vec<_>>().join(" "));
                ExitCode::FAILURE
            }
        },
    }
}

/// Keys and secrets are in the memory of the process: it leaves no core dump, and on Linux no other process of the same
/// user may read its memory or its environment.
fn forbid_core_dumps() -> rustix::io::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none)?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}
