//! What values of several settings must be.

use std::str::FromStr;

use adapters_http::is_quoted;
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use domain::{parse_word, words};
use strum::{VariantArray, VariantNames};
use url::Url;

/// One of the domain's words, which the help lists.
pub(crate) fn word_of<T>() -> impl TypedValueParser<Value = T>
where
    T: FromStr + VariantNames + VariantArray + Copy + Into<&'static str> + Send + Sync + 'static,
{
    PossibleValuesParser::new(words::<T>()).try_map(|word| parse_word(&word))
}

pub(crate) fn whole_number<const MIN: u64, const MAX: u64>(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| (MIN..=MAX).contains(number));
    number.ok_or_else(|| format!("must be a whole number from {MIN} to {MAX}"))
}

pub(super) fn host_and_port(text: &str) -> Result<String, &'static str> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("must be a host and a port, such as 127.0.0.1:8080"),
    }
}

pub(crate) fn http_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && !is_quoted(text));
    url.ok_or("must be an http:// or https:// URL without quotes")
}

/// The word that stands for a value on the command line.
pub(super) fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
