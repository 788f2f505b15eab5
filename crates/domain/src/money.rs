//! Amounts, exact to the last digit.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Why an amount or a currency was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not digits with at most one decimal point between them.
    #[error("must be a decimal number, such as \"29.00\"")]
    NotDecimal,
    /// Zero or less.
    #[error("must be more than zero")]
    NotPositive,
    /// More than 15 digits.
    #[error("must have at most 15 digits")]
    TooLarge,
    /// More decimals than the currency has.
    #[error("must have at most {digits} decimals in {currency}")]
    TooManyDecimals {
        /// The currency.
        currency: Currency,
        /// How many decimals it has.
        digits: u32,
    },
    /// Not a currency of ISO 4217 that payments are made in.
    #[error("must be an ISO 4217 currency code, such as EUR")]
    UnknownCurrency,
}

/// A currency of ISO 4217 that has minor units (precious metals and the like have none).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// How many decimals the amounts of any currency have at most.
    pub const DIGITS_MAX: usize = 4;

    /// Reads a code in either case.
    ///
    /// # Errors
    /// [`MoneyError::UnknownCurrency`]
    pub fn parse(code: &str) -> Result<Self, MoneyError> {
        iso_currency::Currency::from_code(&code.to_ascii_uppercase())
            .filter(|currency| currency.exponent().is_some())
            .map(Self)
            .ok_or(MoneyError::UnknownCurrency)
    }

    /// The three letters.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// How many decimals its amounts have: 2 for EUR, 0 for JPY.
    #[must_use]
    pub fn digits(self) -> u32 {
        self.0.exponent().unwrap_or_default().into()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

/// A positive decimal number as it was written: `29`, `29.90`. Equal when the values are.
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    coefficient: u64,
    scale: u32,
}

impl Decimal {
    /// Leaves room in 64 bits for the decimals that a currency can have at most.
    const DIGITS_MAX: usize = 15;

    /// Reads a number as JSON writes it: it may have an exponent, and it may come out of binary floating point
    /// (`29.000000000000004`). What is off by less than 10⁻⁶ from an amount is that amount (contract §3), whatever its
    /// currency: amounts with fewer decimals than [`Currency::DIGITS_MAX`] are among those that have as many.
    ///
    /// # Errors
    /// As [`FromStr`] for this type.
    pub fn parse_json_number(text: &str) -> Result<Self, MoneyError> {
        if text.starts_with('-') {
            return Err(MoneyError::NotPositive);
        }
        let plain = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => Cow::Owned(Self::without_exponent(mantissa, exponent)?),
            None => Cow::Borrowed(text),
        };
        let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
        let Some((decimals, rest)) = fraction.trim_end_matches('0').split_at_checked(Currency::DIGITS_MAX) else {
            return plain.parse();
        };
        if rest.starts_with("00") {
            format!("{whole}.{decimals}").parse()
        } else if rest.len() > 2 && rest.starts_with("99") {
            let below = format!("{whole}{decimals}").parse::<u64>().ok();
            let next = below.and_then(|below| below.checked_add(1)).ok_or(MoneyError::TooLarge)?;
            let digits = format!("{next:0>width$}", width = Currency::DIGITS_MAX + 1);
            let (whole, decimals) = digits.split_at(digits.len() - Currency::DIGITS_MAX);
            format!("{whole}.{decimals}").parse()
        } else {
            plain.parse()
        }
    }

    /// Moves the point as the exponent says.
    fn without_exponent(mantissa: &str, exponent: &str) -> Result<String, MoneyError> {
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        let exponent: isize = exponent.parse().map_err(|_| MoneyError::TooLarge)?;
        let point = whole.len().checked_add_signed(exponent);
        let zeros =
            |count| if count <= 2 * Self::DIGITS_MAX { Ok("0".repeat(count)) } else { Err(MoneyError::TooLarge) };
        match point {
            Some(point @ 1..) => match digits.split_at_checked(point) {
                Some((whole, fraction)) if !fraction.is_empty() => Ok(format!("{whole}.{fraction}")),
                _ => Ok(format!("{digits}{}", zeros(point - digits.len())?)),
            },
            _ => Ok(format!("0.{}{digits}", zeros(exponent.unsigned_abs() - whole.len())?)),
        }
    }

    /// The value in units of this many decimals. Fits: 19 digits and as many decimals as a number can have.
    fn in_units(self, scale: u32) -> u128 {
        u128::from(self.coefficient) * 10_u128.pow(scale)
    }
}

impl FromStr for Decimal {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let (sign, unsigned) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(MoneyError::NotDecimal),
            None => (unsigned, ""),
        };
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return Err(MoneyError::NotDecimal);
        }
        let whole = whole.trim_start_matches('0');
        let fits = |fraction: &str| whole.len() + fraction.len() <= Self::DIGITS_MAX;
        let fraction = if fits(fraction) { fraction } else { fraction.trim_end_matches('0') };
        if !fits(fraction) {
            return Err(MoneyError::TooLarge);
        }
        let coefficient =
            whole.bytes().chain(fraction.bytes()).fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        if sign < 0 || coefficient == 0 {
            return Err(MoneyError::NotPositive);
        }
        // At most DIGITS_MAX, checked above.
        #[expect(clippy::cast_possible_truncation)]
        let scale = fraction.len() as u32;
        Ok(Self { coefficient, scale })
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        self.in_units(other.scale).cmp(&other.in_units(self.scale))
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl fmt::Display for Decimal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = 10_u64.pow(self.scale);
        write!(formatter, "{}", self.coefficient / unit)?;
        match self.scale as usize {
            0 => Ok(()),
            width => write!(formatter, ".{:0width$}", self.coefficient % unit),
        }
    }
}

/// A positive amount of a currency, in its minor units (cents).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

impl Money {
    /// The amount of this currency.
    ///
    /// # Errors
    /// [`MoneyError::TooManyDecimals`] when the amount has more decimals than the currency; zeros do not count.
    pub fn new(amount: Decimal, currency: Currency) -> Result<Self, MoneyError> {
        let digits = currency.digits();
        let (minor, unit) = (amount.in_units(digits), 10_u128.pow(amount.scale));
        if !minor.is_multiple_of(unit) {
            return Err(MoneyError::TooManyDecimals { currency, digits });
        }
        Self::from_minor(i64::try_from(minor / unit).map_err(|_| MoneyError::TooLarge)?, currency)
    }

    /// So many minor units of this currency.
    ///
    /// # Errors
    /// [`MoneyError::NotPositive`] for zero or less.
    pub fn from_minor(minor: i64, currency: Currency) -> Result<Self, MoneyError> {
        if minor > 0 { Ok(Self { minor, currency }) } else { Err(MoneyError::NotPositive) }
    }

    /// The amount in minor units.
    #[must_use]
    pub fn minor(self) -> i64 {
        self.minor
    }

    /// The currency.
    #[must_use]
    pub fn currency(self) -> Currency {
        self.currency
    }

    /// The amount, with as many decimals as the currency has.
    #[must_use]
    pub fn amount(self) -> Decimal {
        Decimal { coefficient: self.minor.unsigned_abs(), scale: self.currency.digits() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(amount: &str, currency: &str) -> Result<Money, MoneyError> {
        Money::new(amount.parse()?, Currency::parse(currency)?)
    }

    #[test]
    fn an_amount_is_written_with_the_digits_of_its_currency() {
        for (given, currency, shown) in [
            ("29", "EUR", "29.00"),
            ("29.9", "eur", "29.90"),
            ("0.01", "CZK", "0.01"),
            ("1500", "JPY", "1500"),
            ("1.234", "BHD", "1.234"),
            ("0029.00", "EUR", "29.00"),
            ("29.000", "EUR", "29.00"),
            ("15000.00", "CLP", "15000"),
            ("29.0000000000000000000", "EUR", "29.00"),
        ] {
            assert_eq!(money(given, currency).expect("valid").amount().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_positive_amount_of_the_currency_is_refused() {
        let too_many =
            |code, digits| MoneyError::TooManyDecimals { currency: Currency::parse(code).expect("known"), digits };
        for (given, currency, error) in [
            ("", "EUR", MoneyError::NotDecimal),
            (".5", "EUR", MoneyError::NotDecimal),
            ("5.", "EUR", MoneyError::NotDecimal),
            ("+5", "EUR", MoneyError::NotDecimal),
            ("1e2", "EUR", MoneyError::NotDecimal),
            ("1_000", "EUR", MoneyError::NotDecimal),
            ("1,50", "EUR", MoneyError::NotDecimal),
            ("NaN", "EUR", MoneyError::NotDecimal),
            ("٣", "EUR", MoneyError::NotDecimal),
            ("0", "EUR", MoneyError::NotPositive),
            ("0.00", "EUR", MoneyError::NotPositive),
            ("-29", "EUR", MoneyError::NotPositive),
            ("29.001", "EUR", too_many("EUR", 2)),
            ("29.5", "JPY", too_many("JPY", 0)),
            ("9999999999999999", "EUR", MoneyError::TooLarge),
            ("29", "EURO", MoneyError::UnknownCurrency),
            ("29", "XAU", MoneyError::UnknownCurrency),
            ("29", "", MoneyError::UnknownCurrency),
        ] {
            assert_eq!(money(given, currency), Err(error), "{given} {currency}");
        }
    }

    #[test]
    fn amounts_are_compared_by_value() {
        let decimal = |text: &str| text.parse::<Decimal>().expect("valid");
        assert_eq!(decimal("29"), decimal("29.00"));
        for (less, more) in [("29", "29.01"), ("29", "290"), ("2.9", "29"), ("0.000000000000001", "999999999999999")] {
            assert!(decimal(less) < decimal(more), "{less} {more}");
        }
    }

    #[test]
    fn no_currency_has_more_decimals_than_is_said() {
        let letters = || 'A'..='Z';
        let pairs = letters().flat_map(|first| letters().map(move |second| (first, second)));
        let codes =
            pairs.flat_map(|(first, second)| letters().map(move |third| String::from_iter([first, second, third])));
        let digits = codes.filter_map(|code| Currency::parse(&code).ok()).map(|currency| currency.digits() as usize);
        assert_eq!(digits.max(), Some(Currency::DIGITS_MAX));
    }

    #[test]
    fn a_json_number_may_be_off_by_what_floating_point_leaves() {
        for (given, shown) in [
            ("29.000000000000004", "29.0000"),
            ("28.999999999999996", "29.0000"),
            ("0.30000000000000004", "0.3000"),
            ("0.009999999999999787", "0.0100"),
            ("2.9000000000000004e1", "29.0000"),
            ("99999999.98999999463558", "99999999.9900"),
            ("99999999999999.9999999", "100000000000000"),
            ("1.2344999999999999", "1.2345"),
            ("29.00000099999", "29.0000"),
            ("29.000001", "29.000001"),
            ("28.9999990001", "29.0000"),
            ("28.999999", "28.999999"),
            ("29.0001", "29.0001"),
            ("29.00", "29.00"),
        ] {
            let amount = Decimal::parse_json_number(given).expect(given);
            assert_eq!(amount, shown.parse().expect("valid"), "{given} is {amount}");
        }
        for (given, error) in [
            ("0.0000000000000004", MoneyError::NotPositive),
            ("4e-16", MoneyError::NotPositive),
            ("29.12345678901234567", MoneyError::TooLarge),
            ("999999999999999.9999999", MoneyError::TooLarge),
            ("1844674407370955.161599999", MoneyError::TooLarge),
            ("99999999999999999999999.9999999", MoneyError::TooLarge),
        ] {
            assert_eq!(Decimal::parse_json_number(given), Err(error), "{given}");
        }
    }

    #[test]
    fn a_json_number_may_have_an_exponent() {
        for (given, shown) in [
            ("29", "29"),
            ("2.9e1", "29"),
            ("2.95E+1", "29.5"),
            ("2900e-2", "29"),
            ("5e-1", "0.5"),
            ("1e3", "1000"),
            ("1.5e0", "1.5"),
            ("25e-3", "0.025"),
            ("1.25e-1", "0.125"),
            ("1.00e2", "100"),
        ] {
            assert_eq!(Decimal::parse_json_number(given), shown.parse(), "{given}");
        }
        for (given, error) in [
            ("-2e1", MoneyError::NotPositive),
            ("-2e-1", MoneyError::NotPositive),
            ("0e9", MoneyError::NotPositive),
            ("1e300", MoneyError::TooLarge),
            ("1e-300", MoneyError::TooLarge),
            ("1e99999999999", MoneyError::TooLarge),
            ("1e-2147483648", MoneyError::TooLarge),
        ] {
            assert_eq!(Decimal::parse_json_number(given), Err(error), "{given}");
        }
    }
}
