use std::io;
use std::process::ExitCode;

use adapters_http::documents::RegistrationDocument;
use anyhow::Context as _;
use clap::Args;
use domain::{
    Currency, Decimal, InvoiceNumber, Money, OrderId, PaymentId, PaymentMethod, RecordDetails, RedirectUrl,
    Registration, RegistrationOutcome, UserId, parse_new_order_id, parse_new_payment_id,
};
use usecases::{Caller, Registered};

use crate::output::{self, Format};
use crate::settings::{self, LoggingSettings, SettingsError, word_of};
use crate::wiring::{announce_events, use_cases, with_log};

/// How many outcomes of what had waited are shown to people.
const APPLIED_SHOWN_MAX: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct Register {
    /// The id that payments-microservice gave the payment
    #[arg(long, env = "REGISTER_PAYMENT_ID", value_name = "ID", value_parser = parse_new_payment_id)]
    payment_id: PaymentId,
    /// The order that it is for
    #[arg(long, env = "REGISTER_ORDER_ID", value_name = "ID", value_parser = parse_new_order_id)]
    order_id: OrderId,
    /// What is to be paid, in units of the currency, such as 29.00
    #[arg(long, env = "REGISTER_AMOUNT", value_name = "DECIMAL")]
    amount: Decimal,
    /// The currency, as ISO 4217
    #[arg(long, env = "REGISTER_CURRENCY", value_name = "CODE", value_parser = Currency::parse)]
    currency: Currency,
    /// How it is made
    #[arg(long, env = "REGISTER_METHOD", value_name = "METHOD", value_parser = word_of::<PaymentMethod>())]
    method: PaymentMethod,
    /// Where the portal sends the customer
    #[arg(long, env = "REGISTER_REDIRECT_URL", value_name = "URL", value_parser = RedirectUrl::parse)]
    redirect_url: Option<RedirectUrl>,
    /// For an invoice: its number
    #[arg(long, env = "REGISTER_INVOICE_NUMBER", value_name = "NUMBER", value_parser = InvoiceNumber::parse)]
    invoice_number: Option<InvoiceNumber>,
    /// For an inner payment: whose balance pays
    #[arg(long, env = "REGISTER_USER_ID", value_name = "ID", value_parser = UserId::parse)]
    user_id: Option<UserId>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    logging: LoggingSettings,
}

impl Register {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self {
            payment_id,
            order_id,
            amount,
            currency,
            method,
            redirect_url,
            invoice_number,
            user_id,
            format,
            logging,
        } = self;
        let price = Money::new(amount, currency).map_err(|error| SettingsError::new("--amount", error.to_string()))?;
        let details = RecordDetails { invoice_number, user_id };
        let registration = Registration { payment_id, order_id, price, method, redirect_url, details };
        let store = settings::database_url()?.store_for_command()?;
        let registered = with_log(logging, io::stderr(), |log, _| {
            Ok(use_cases(&store, log).register_payment(&registration, &Caller::default())?)
        })?;
        let Registered { outcome, applied, afterwards } = registered;
        announce_events(&*store, &applied);
        match outcome {
            RegistrationOutcome::Registered | RegistrationOutcome::Exists => {}
            RegistrationOutcome::PaymentConflict => {
                anyhow::bail!("the payment is registered with another order, amount, currency or method")
            }
            RegistrationOutcome::OrderConflict => anyhow::bail!("the order has another amount or currency"),
        }
        let (payment, order) = afterwards?.context("the payment is gone")?;
        let document = RegistrationDocument::new(outcome, &applied, payment, order);
        format.print(&document, describe)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// For people: with the outcomes of the notifications that were parked for it, as far as they are few.
fn describe(document: &RegistrationDocument) -> String {
    let (shown, others) = document.applied.split_at(document.applied.len().min(APPLIED_SHOWN_MAX));
    let others = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
    let applied = if shown.is_empty() {
        String::new()
    } else {
        format!("applied what had waited for it: {}{others}\n", shown.join(", "))
    };
    let (payment, order) = (output::payment(&document.payment), output::order(&document.order));
    format!("{}\n{applied}\n{payment}{order}", document.status)
}
