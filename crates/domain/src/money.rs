//! Amounts, exact to the last digit.

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

/// A positive decimal number as somebody wrote it: `29`, `29.90`. Equal when the values are.
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    coefficient: u64,
    scale: u32,
}

impl Decimal {
    /// Leaves room in 64 bits for the four decimals that a currency can have at most.
    const DIGITS_MAX: usize = 15;

    /// Reads a number as JSON writes it, which may have an exponent.
    ///
    /// # Errors
    /// As [`FromStr`] for this type.
    pub fn parse_json_number(text: &str) -> Result<Self, MoneyError> {
        let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else {
            return text.parse();
        };
        let exponent: i32 = exponent.parse().map_err(|_| MoneyError::TooLarge)?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let scale = i32::try_from(fraction.len()).ok().and_then(|scale| scale.checked_sub(exponent));
        let places = |count: i32| usize::try_from(count).ok().filter(|count| *count <= 2 * Self::DIGITS_MAX);
        let digits = format!("{whole}{fraction}");
        match scale {
            Some(scale @ ..=0) => {
                let zeros = places(-scale).ok_or(MoneyError::TooLarge)?;
                format!("{digits}{:0<zeros$}", "").parse()
            }
            Some(scale) => {
                let places = places(scale).ok_or(MoneyError::TooLarge)?;
                let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |digits| ("-", digits));
                let digits = format!("{digits:0>width$}", width = places + 1);
                let (whole, fraction) = digits.split_at(digits.len() - places);
                format!("{sign}{whole}.{}", fraction.trim_end_matches('0')).trim_end_matches('.').parse()
            }
            None => Err(MoneyError::TooLarge),
        }
    }

    fn normalized(self) -> (u64, u32) {
        let (mut coefficient, mut scale) = (self.coefficient, self.scale);
        while scale > 0 && coefficient.is_multiple_of(10) {
            coefficient /= 10;
            scale -= 1;
        }
        (coefficient, scale)
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
        if whole.len() + fraction.len() > Self::DIGITS_MAX {
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

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.normalized() == other.normalized()
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
    /// [`MoneyError::TooManyDecimals`] when more decimals are written than the currency has.
    pub fn new(amount: Decimal, currency: Currency) -> Result<Self, MoneyError> {
        let digits = currency.digits();
        let missing = digits.checked_sub(amount.scale).ok_or(MoneyError::TooManyDecimals { currency, digits })?;
        let minor = amount.coefficient.checked_mul(10_u64.pow(missing)).and_then(|minor| i64::try_from(minor).ok());
        Self::from_minor(minor.ok_or(MoneyError::TooLarge)?, currency)
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
    fn amounts_are_equal_when_their_values_are() {
        let decimal = |text: &str| text.parse::<Decimal>().expect("valid");
        assert_eq!(decimal("29"), decimal("29.00"));
        assert_ne!(decimal("29"), decimal("29.01"));
        assert_ne!(decimal("29"), decimal("290"));
    }

    #[test]
    fn a_json_number_may_have_an_exponent() {
        for (given, shown) in
            [("29", "29"), ("2.9e1", "29"), ("2.95E+1", "29.5"), ("2900e-2", "29"), ("5e-1", "0.5"), ("1e3", "1000")]
        {
            assert_eq!(Decimal::parse_json_number(given).expect(given).to_string(), shown, "{given}");
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
