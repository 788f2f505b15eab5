//! The program: settings, commands, and the composition root (`commands/serve.rs`) that wires everything.
//! No rules live here.

mod clock;
mod command_line;
mod commands;
mod output;
mod settings;
mod store;

use std::process::ExitCode;

use settings::SettingsError;

fn main() -> ExitCode {
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
