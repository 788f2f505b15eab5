//! Reads the command line: what is wrong with it in one line, and help that names every variable.

use std::error::Error as _;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _};

use crate::commands::Cli;
use crate::settings::{SECRETS_HELP, environment, load_dotenv};

/// Reads the command line and the environment. Says what is wrong in one line, or prints the help that was
/// asked for; either way the exit code is the error.
pub(crate) fn read() -> Result<Cli, ExitCode> {
    if load_dotenv().is_err() {
        // Its own words would show the line, and what is secret in it.
        eprintln!("payment-callback: .env cannot be read: it must be lines of NAME=value");
        return Err(ExitCode::from(2));
    }
    let command = with_settings_help(Cli::command());
    match ignore_empty(command.clone()).try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => Ok(cli),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            // The help names every variable, also those that are empty.
            let printed = command.try_get_matches().map_or_else(|help| help.print().is_ok(), |_| false);
            Err(if printed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Err(error) => {
            eprintln!("payment-callback: {}", one_line(&command, &error));
            Err(ExitCode::from(2))
        }
    }
}

/// The program's own help lists every setting of the service, as `serve --help` does.
fn with_settings_help(command: clap::Command) -> clap::Command {
    let serve = command.find_subcommand("serve").into_iter().flat_map(clap::Command::get_opts);
    let lines: Vec<String> = serve
        .filter_map(|option| {
            let name = option.get_env()?.display();
            let help = option.get_help().map(ToString::to_string).unwrap_or_default();
            let default = option.get_default_values().first().map(|value| format!(" [default: {}]", value.display()));
            Some(format!("  {name}{}\n      {help}", default.unwrap_or_default()))
        })
        .collect();
    let settings = format!("Settings, from the environment or as options of `serve`:\n{}", lines.join("\n"));
    command.after_help(format!("{settings}\n\n{SECRETS_HELP}"))
}

/// An empty value is an unset one.
fn ignore_empty(command: clap::Command) -> clap::Command {
    let ignore = |argument: clap::Arg| match argument.get_env() {
        Some(name) if environment(name).is_none() => argument.env(clap::builder::Resettable::Reset),
        _ => argument,
    };
    command.mut_args(ignore).mut_subcommands(ignore_empty)
}

/// What is wrong in one line that names the variable and never shows its value.
fn one_line(command: &clap::Command, error: &clap::Error) -> String {
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.split_whitespace().next().unwrap_or_default(),
        _ => "",
    };
    let long = argument.strip_prefix("--").unwrap_or_default();
    let arguments = command.get_subcommands().flat_map(clap::Command::get_arguments);
    let variable = arguments.filter(|known| known.get_long() == Some(long)).find_map(clap::Arg::get_env);
    let name = variable.map_or_else(|| argument.to_owned(), |name| format!("{} ({argument})", name.display()));
    match (error.kind(), error.source(), error.get(ContextKind::ValidValue)) {
        (ErrorKind::ValueValidation, Some(source), _) => format!("{name} {source}"),
        (ErrorKind::InvalidValue, _, Some(ContextValue::Strings(words))) if !words.is_empty() => {
            format!("{name} must be one of {}", words.join(", "))
        }
        (ErrorKind::InvalidValue, ..) => format!("{name} needs a value"),
        (ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, ..) => "a command is missing (try --help)".to_owned(),
        _ => {
            let text = error.to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            let first: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
            format!("{} (try --help)", first.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_is_also_an_environment_variable() {
        let command = Cli::command();
        let mut seen = HashSet::new();
        for subcommand in command.get_subcommands() {
            for option in subcommand.get_opts().filter(|option| option.get_id() != "help") {
                assert!(option.get_env().is_some(), "{} --{}", subcommand.get_name(), option.get_id());
                seen.insert(option.get_env());
            }
        }
        assert!(seen.len() > 10, "the options were looked at");
    }
}
