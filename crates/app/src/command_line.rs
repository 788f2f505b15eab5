//! Reads the command line: what is wrong with it in a line each, and help that names every variable.

use std::error::Error as _;
use std::fmt;
use std::process::ExitCode;

use clap::builder::{Resettable, ValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgMatches, Command, CommandFactory as _, FromArgMatches as _};

use crate::commands::{Cli, check_secrets};
use crate::settings::{load_dotenv, secrets_help, trim_variables};

/// Reads the command line and the environment. Says all that is wrong, a line each, or prints the help that was
/// asked for; either way the exit code is the error.
pub(crate) fn read() -> Result<Cli, ExitCode> {
    if load_dotenv().is_err() {
        // Its own words would show the line, and what is secret in it.
        complain(".env cannot be read: it must be lines of NAME=value");
        return Err(ExitCode::from(2));
    }
    let options = Cli::command();
    let trimmed = trim_variables(options.get_subcommands().flat_map(Command::get_arguments).filter_map(Arg::get_env));
    // Made anew: an option takes the value of its variable when it is made.
    let command = with_settings_help(Cli::command());
    match command.clone().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) if trimmed.is_ok() => Ok(cli),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Err(if error.print().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        _ => {
            trimmed.err().iter().for_each(complain);
            all_that_is_wrong(command).iter().for_each(complain);
            Err(ExitCode::from(2))
        }
    }
}

/// Prints what is wrong on stderr, each of its lines under the program's name.
pub(crate) fn complain(message: impl fmt::Display) {
    for line in message.to_string().lines() {
        eprintln!("payment-callback: {line}");
    }
}

/// What is wrong with options, variables and secrets. clap ends at the first bad value, so it is asked again with
/// whatever it has complained about allowed.
fn all_that_is_wrong(mut command: Command) -> Vec<String> {
    let matches = command.clone().ignore_errors(true).try_get_matches().ok();
    let subcommand = matches.as_ref().and_then(ArgMatches::subcommand_name);
    let mut lines = Vec::new();
    loop {
        let error = match command.clone().try_get_matches() {
            Ok(matches) => {
                lines.extend(check_secrets(&matches).err().map(|error| error.to_string()));
                return lines;
            }
            Err(error) => error,
        };
        let subcommand = subcommand.and_then(|name| command.find_subcommand(name));
        lines.push(one_line(subcommand, &error));
        let is_about_a_value = matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue)
            && matches!(error.get(ContextKind::InvalidValue), Some(ContextValue::String(value)) if !value.is_empty());
        let Some(option) = option_of(&error).filter(|_| is_about_a_value) else {
            return lines;
        };
        let allow = |argument: Arg| match argument.get_long() {
            Some(long) if long == option => {
                if argument.get_action().takes_values() {
                    argument.value_parser(ValueParser::os_string())
                } else {
                    // A flag takes a value from its variable alone.
                    argument.env(Resettable::Reset)
                }
            }
            _ => argument,
        };
        command = command.mut_subcommands(|subcommand| subcommand.mut_args(allow));
    }
}

/// The program's own help lists every setting of the service, as `serve --help` does.
pub(crate) fn with_settings_help(command: Command) -> Command {
    let serve = command.find_subcommand("serve").into_iter().flat_map(Command::get_opts);
    let lines: Vec<String> = serve
        .filter_map(|option| {
            let name = option.get_env()?.display();
            let help = option.get_help().map(ToString::to_string).unwrap_or_default();
            let default = option.get_default_values().first().map(|value| format!(" [default: {}]", value.display()));
            Some(format!("  {name}{}\n      {help}", default.unwrap_or_default()))
        })
        .collect();
    let settings = format!("Settings, from the environment or as options of `serve`:\n{}", lines.join("\n"));
    command.after_help(format!("{settings}\n\n{}", secrets_help()))
}

/// The option that an error is about, without its dashes.
fn option_of(error: &clap::Error) -> Option<&str> {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.split_whitespace().next()?.strip_prefix("--"),
        _ => None,
    }
}

/// What is wrong in one line that names the subcommand's variable and never shows its value.
fn one_line(subcommand: Option<&Command>, error: &clap::Error) -> String {
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.split_whitespace().next().unwrap_or_default(),
        _ => "",
    };
    let long = option_of(error);
    let arguments = subcommand.into_iter().flat_map(Command::get_arguments);
    let variable = arguments.filter(|known| long.is_some() && known.get_long() == long).find_map(Arg::get_env);
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
