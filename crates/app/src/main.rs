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
        Err(error) => {
            // One line, also where a library's message has several.
            let message = format!("{error:#}");
            eprintln!("payment-callback: {}", message.split_whitespace().collect::<Vec<_>>().join(" "));
            if error.is::<SettingsError>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
