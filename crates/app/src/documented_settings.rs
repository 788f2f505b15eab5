//! The settings of `serve` are written down in four places besides the code: the program's help, `.env.example`,
//! docs/configuration.md and the contract. All of them name the same settings with the same defaults.
//! docker-compose.yml hands them on.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Arg, Command, CommandFactory as _};

use crate::command_line::with_settings_help;
use crate::commands::Cli;
use crate::settings::VARIABLES;

const ENV_EXAMPLE: &str = include_str!("../../../.env.example");
const COMPOSE: &str = include_str!("../../../docker-compose.yml");
const CONFIGURATION: &str = include_str!("../../../docs/configuration.md");
const CONTRACT: &str = include_str!("../../../docs/contract/callback-api.md");

/// What the contract describes and the program does not have yet.
const NOT_BUILT: [&str; 7] = [
    "CONFIRM_WITH_PAYMENT_SERVICE",
    "PAYMENT_SERVICE_API_KEY",
    "PAYMENT_SERVICE_URL",
    "RECONCILE_AFTER_S",
    "RECONCILE_EVERY_S",
    "RECONCILE_PER_MINUTE_MAX",
    "SILENCE_AFTER_S",
];

/// What the program has and the contract does not describe.
const NOT_IN_THE_CONTRACT: [&str; 1] = ["LOG_FORMAT"];

#[derive(Debug)]
struct Setting {
    /// With its dashes; keys and URLs that may hold a password have none.
    option: Option<String>,
    default: Option<String>,
    /// What the help says where there is no fixed default.
    default_in_words: Option<String>,
}

impl Setting {
    fn of_option(option: &Arg) -> Self {
        let default = option.get_default_values().first().map(|value| value.to_str().expect("UTF-8").to_owned());
        let help = option.get_help().map(ToString::to_string).unwrap_or_default();
        let long = option.get_long().expect("an option with a long name");
        Self { option: Some(format!("--{long}")), default, default_in_words: default_in(&help) }
    }

    /// Whether a document that gives this default is right.
    fn has_default(&self, written: &str) -> bool {
        match (&self.default, &self.default_in_words) {
            (Some(default), _) | (None, Some(default)) => written == default,
            (None, None) => ["none", "required"].iter().any(|word| written.starts_with(word)),
        }
    }
}

/// What the text says in `[default: …]`.
fn default_in(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("[default: ")?;
    rest.split_once(']').map(|(default, _)| default.to_owned())
}

fn subcommand(name: &str) -> Command {
    Cli::command().find_subcommand(name).expect("a command of this name").clone()
}

/// The options of a command by their variables.
fn options(command: &Command) -> BTreeMap<String, Setting> {
    let options = command.get_opts().filter_map(|option| Some((option.get_env()?.to_str()?, option)));
    options.map(|(name, option)| (name.to_owned(), Setting::of_option(option))).collect()
}

fn settings() -> BTreeMap<String, Setting> {
    let without_option = VARIABLES.iter().map(|variable| {
        let default = variable.default.map(str::to_owned);
        (variable.name.to_owned(), Setting { option: None, default, default_in_words: None })
    });
    let mut settings = options(&subcommand("serve"));
    settings.extend(without_option);
    settings
}

fn names<'a>(settings: impl IntoIterator<Item = &'a String>) -> BTreeSet<&'a str> {
    settings.into_iter().map(String::as_str).collect()
}

fn is_variable(word: &str) -> bool {
    word.contains('_') && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// The part of a document below this heading, up to the next one of the same level.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let (_, rest) = document.split_once(&format!("\n{heading}\n")).expect("a section of this heading");
    rest.split("\n## ").next().unwrap_or_default()
}

/// The words in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The rows of tables whose first cell names variables, cell by cell.
fn rows(document: &str) -> impl Iterator<Item = Vec<&str>> {
    let cells = |row| str::trim_matches(row, '|').split('|').map(str::trim).collect::<Vec<_>>();
    let rows = document.lines().filter(|line| line.starts_with('|')).map(cells);
    rows.filter(|cells| quoted(cells[0]).first().is_some_and(|word| is_variable(word)))
}

#[test]
fn the_help_names_every_setting_with_its_default() {
    let settings = settings();
    let help = with_settings_help(Cli::command()).term_width(200).render_help().to_string();
    // A name at the beginning of a line begins an entry.
    let mut entries: BTreeMap<String, String> = BTreeMap::new();
    let mut entry = None;
    for line in help.lines() {
        let first = line.strip_prefix("  ").and_then(|line| line.split(' ').next()).filter(|word| is_variable(word));
        entry = first.map(str::to_owned).or(entry);
        if let Some(name) = &entry {
            entries.entry(name.clone()).or_default().push_str(line);
        }
    }
    assert_eq!(names(entries.keys()), names(settings.keys()));
    for (name, setting) in &settings {
        let default = setting.default.as_ref().or(setting.default_in_words.as_ref());
        assert_eq!(default_in(&entries[name]).as_ref(), default, "{name}");
    }
    let serve = subcommand("serve").render_long_help().to_string();
    for name in settings.keys() {
        assert!(serve.contains(name), "{name}: {serve}");
    }
}

#[test]
fn the_example_of_an_env_file_gives_every_setting_its_default_and_says_what_it_is_for() {
    let settings = settings();
    let lines: Vec<&str> = ENV_EXAMPLE.lines().collect();
    let mut examples = BTreeMap::new();
    for (above, line) in lines.iter().zip(&lines[1..]) {
        if let Some((name, value)) = line.split_once('=').filter(|(name, _)| is_variable(name)) {
            assert!(above.starts_with("# "), "{name} has a comment above it");
            assert_eq!(examples.insert(name.to_owned(), value), None, "{name} is given once");
        }
    }
    assert_eq!(names(examples.keys()), names(settings.keys()));
    for (name, setting) in &settings {
        assert_eq!(examples[name], setting.default.as_deref().unwrap_or_default(), "{name}");
    }
}

#[test]
fn the_compose_file_hands_on_every_setting_but_the_address_that_the_image_sets() {
    let settings = settings();
    let service = COMPOSE.split("\n\n").find(|part| part.starts_with("  payment-callback:")).expect("the service");
    let missing = settings.keys().filter(|name| !service.contains(&format!("\n      {name}: ")));
    assert_eq!(missing.collect::<Vec<_>>(), ["BIND_ADDRESS"]);
}

#[test]
fn the_configuration_page_describes_every_setting_with_its_option_and_its_default() {
    let settings = settings();
    let mut described = BTreeMap::new();
    for cells in rows(section(CONFIGURATION, "## Settings of `serve`")) {
        let name = quoted(cells[0])[0].to_owned();
        assert!(described.insert(name.clone(), cells).is_none(), "{name} is described once");
    }
    assert_eq!(names(described.keys()), names(settings.keys()));
    for (name, setting) in &settings {
        let cells = &described[name];
        assert_eq!(quoted(cells[0]).get(1).copied(), setting.option.as_deref(), "the option of {name}");
        assert!(setting.has_default(&cells[1].replace('`', "")), "the default of {name}: {}", cells[1]);
    }
}

#[test]
fn the_ranges_on_the_configuration_page_are_those_that_the_program_takes() {
    let mut ranges = 0;
    for cells in rows(section(CONFIGURATION, "## Settings of `serve`")) {
        let Some((min, max)) = cells[2].split_once('–') else { continue };
        let (Ok(min), Ok(max), Some(option)) =
            (min.parse::<u64>(), max.parse::<u64>(), quoted(cells[0]).get(1).copied())
        else {
            continue;
        };
        let takes = |value: &str| Cli::command().try_get_matches_from(["payment-callback", "serve", option, value]);
        for value in [min, max] {
            assert!(takes(&value.to_string()).is_ok(), "{option} {value}");
        }
        for value in [min.checked_sub(1), max.checked_add(1)].into_iter().flatten() {
            assert!(takes(&value.to_string()).is_err(), "{option} {value}");
        }
        ranges += 1;
    }
    assert!(ranges > 3, "there are ranges in the tables: {ranges}");
}

#[test]
fn the_configuration_page_names_the_variables_of_every_other_command() {
    let settings = settings();
    let commands = Cli::command();
    let others = commands.get_subcommands().filter(|command| command.get_name() != "serve").flat_map(options);
    let (shared, own): (Vec<_>, Vec<_>) = others.partition(|(name, _)| settings.contains_key(name));
    for (name, setting) in shared {
        assert_eq!(setting.default, settings[&name].default, "{name} means the same in each command");
    }
    // A name, or how the names of a command begin: `SEND_…`.
    let described = quoted(section(CONFIGURATION, "## Commands"));
    let describes = |described: &str, name: &str| match described.strip_suffix('…') {
        Some(beginning) => name.starts_with(beginning),
        None => described == name,
    };
    for (name, _) in &own {
        assert!(described.iter().any(|described| describes(described, name)), "{name} is missing");
    }
    for beginning in described.iter().filter(|described| described.ends_with("_…")) {
        assert!(own.iter().any(|(name, _)| describes(beginning, name)), "{beginning} is the beginning of a name");
    }
}

#[test]
fn the_contract_describes_every_setting_and_those_that_are_not_built_yet() {
    let settings = settings();
    let mut described = BTreeMap::new();
    for cells in rows(section(CONTRACT, "## 2. Settings")) {
        // `A` / `B` in one row have the defaults a / b.
        let (names, defaults): (Vec<_>, Vec<_>) = (cells[0].split(" / ").collect(), cells[1].split(" / ").collect());
        assert_eq!(names.len(), defaults.len(), "{cells:?}");
        described.extend(names.into_iter().zip(defaults).map(|(name, default)| (name.replace('`', ""), default)));
    }
    let (in_contract, built) = (names(described.keys()), names(settings.keys()));
    let (in_contract_only, built_only) = (&in_contract - &built, &built - &in_contract);
    assert_eq!(in_contract_only, BTreeSet::from(NOT_BUILT), "what is described and not built");
    assert_eq!(built_only, BTreeSet::from(NOT_IN_THE_CONTRACT), "what is built and not described");
    for name in in_contract.intersection(&built) {
        let written = described[*name].replace('`', "");
        assert!(settings[*name].has_default(&written), "the default of {name}: {written}");
    }
}
