//! The service describes itself (contract §6), and says what the contract says: its tables and lists are
//! compared with the document that is served.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use simulator::Request;

use crate::test_app::{Store, TestApp, assert_problem, ok, word};

const CONTRACT: &str = include_str!("../../../../docs/contract/callback-api.md");

/// What the contract promises and is still to come. Whatever comes has to go from here.
const ROUTES_TO_COME: [&str; 2] = ["GET /api/payments", "POST /api/payments/{id}/reconcile"];
const PARAMETERS_TO_COME: [(&str, &[&str]); 1] = [("GET /api/deliveries", &["waiting"])];
const CODES_OF_CALLBACKS_TO_COME: [(&str, &str); 1] = [("400", "not_confirmed")];
const CODES_TO_COME: [&str; 3] = ["not_configured", "not_confirmed", "upstream_failed"];
const OUTCOMES_TO_COME: [&str; 1] = ["unconfirmed"];
const SOURCES_TO_COME: [&str; 1] = ["reconciliation"];

/// What the contract leaves to the page.
const PARTS_OF_THE_PAGE: [&str; 1] = ["GET /docs/{file}"];

type Names = BTreeSet<String>;
type Codes = BTreeSet<(String, String)>;

/// The document as it is served.
fn document() -> Value {
    let app = TestApp::open(Store::sqlite());
    let answer = app.send(&Request::get("/api/openapi.json"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    ok(answer)
}

fn names<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Names {
    names.into_iter().map(|name| name.as_ref().to_owned()).collect()
}

/// The names without those that are still to come, which must be among them.
#[track_caller]
fn so_far(mut names: Names, to_come: &[&str]) -> Names {
    for name in to_come {
        assert!(names.remove(*name), "{name} is still to come, says this test, but not the contract");
    }
    names
}

/// A section of the contract, without line breaks.
fn section(number: u8) -> String {
    let (_, text) = CONTRACT.split_once(&format!("\n## {number}. ")).expect("a section of this number");
    let text = text.split_once("\n## ").map_or(text, |(text, _)| text);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What follows these words in a section.
#[track_caller]
fn after<'a>(section: &'a str, words: &str) -> &'a str {
    section.split_once(words).unwrap_or_else(|| panic!("the contract has no {words:?}")).1
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The rows of the table with this head.
fn rows(head: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let rows = CONTRACT.lines().skip_while(move |line| *line != head).skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
}

/// The members of the first JSON object after these words.
#[track_caller]
fn members(section: &str, words: &str) -> Names {
    let text = after(after(section, words), "```json");
    let text = text.split("```").next().unwrap_or_default();
    let object: Value = serde_json::from_str(&text.replace('…', "")).expect("an object");
    object.as_object().expect("an object").keys().cloned().collect()
}

/// The names of a document of §8 and, for each name that has them in brackets, the words.
#[track_caller]
fn listed(document: &str) -> (Names, BTreeMap<String, Names>) {
    let section = section(8);
    // After a semicolon: what else belongs to it.
    let text = after(&section, &format!("- {document}: ")).split(';').next().unwrap_or_default();
    let text = text.split(" - ").next().unwrap_or_default();
    let (mut listed, mut words) = (Names::new(), BTreeMap::new());
    for piece in text.split(')') {
        let (outside, inside) = piece.split_once('(').unwrap_or((piece, ""));
        let found: Vec<_> = quoted(outside).flat_map(|list| list.split(", ")).collect();
        if let Some(last) = found.last() {
            words.insert((*last).to_owned(), names(quoted(inside)));
        }
        listed.extend(found.into_iter().filter(|name| *name != "null").map(str::to_owned));
    }
    (listed, words)
}

fn schema<'a>(document: &'a Value, name: &str) -> &'a Value {
    let schema = &document["components"]["schemas"][name];
    assert!(schema.is_object(), "no schema {name}");
    schema
}

fn properties(schema: &Value) -> Names {
    names(schema["properties"].as_object().expect("properties").keys())
}

fn strings(list: &Value) -> Names {
    list.as_array().map(|list| list.iter().map(word).collect()).unwrap_or_default()
}

/// The schema that a reference leads to.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap_or_else(|| panic!("{reference} leads nowhere")),
        None => schema,
    }
}

/// All operations, as `GET /path`.
fn operations(document: &Value) -> BTreeMap<String, &Value> {
    let paths = document["paths"].as_object().expect("paths");
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("methods");
            methods.iter().map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
        })
        .collect()
}

/// The statuses and codes of an operation's problems.
fn codes(operation: &Value) -> Codes {
    let responses = operation["responses"].as_object().expect("responses");
    let problems = responses.iter().flat_map(|(status, response)| {
        let parts = &response["content"]["application/problem+json"]["schema"]["allOf"];
        let parts = parts.as_array().into_iter().flatten();
        parts.flat_map(|part| strings(&part["properties"]["code"]["enum"])).map(|code| (status.clone(), code))
    });
    problems.collect()
}

/// The document that an operation answers with when all is well.
fn success<'a>(document: &'a Value, operation: &'a Value) -> &'a Value {
    resolved(document, &operation["responses"]["200"]["content"]["application/json"]["schema"])
}

#[test]
fn every_route_of_the_contract_is_described_and_no_other() {
    let document = document();
    let sections = [3, 5, 6].map(section).join(" ");
    let is_route = |text: &&str| text.starts_with("GET /") || text.starts_with("POST /");
    let routes = quoted(&sections).filter(is_route).map(|route| route.split('?').next().unwrap_or(route));
    let routes = routes.map(|route| route.replace("{externalPaymentId}", "{id}").replace("{orderId}", "{id}"));
    let mut expected = so_far(names(routes), &ROUTES_TO_COME);
    expected.extend(PARTS_OF_THE_PAGE.map(str::to_owned));
    assert_eq!(names(operations(&document).keys()), expected);
}

#[test]
fn every_parameter_of_a_query_is_described() {
    let document = document();
    let operations = operations(&document);
    let section = section(6);
    let mut seen = 0;
    for route in quoted(&section).filter(|text| text.contains('?')) {
        let (route, query) = route.split_once('?').expect("a query");
        if ROUTES_TO_COME.contains(&route) {
            continue;
        }
        let expected = names(query.split('&').map(|parameter| parameter.split('=').next().unwrap_or_default()));
        let to_come = PARAMETERS_TO_COME.iter().find(|(of, _)| *of == route).map_or(&[][..], |(_, to_come)| to_come);
        let expected = so_far(expected, to_come);
        let parameters = operations[route]["parameters"].as_array().expect("parameters").iter();
        let in_query = parameters.filter(|parameter| parameter["in"] == "query");
        assert_eq!(in_query.map(|parameter| word(&parameter["name"])).collect::<Names>(), expected, "{route}");
        seen += 1;
    }
    assert_eq!(seen, 4);
}

#[test]
fn a_callback_s_answers_are_those_of_the_table() {
    let document = document();
    let mut expected = Codes::new();
    for row in rows("| answer | `code` | when |") {
        let status = row[0].split(' ').next().unwrap_or_default();
        expected.extend(quoted(row[1]).map(|code| (status.to_owned(), code.to_owned())));
    }
    for (status, code) in CODES_OF_CALLBACKS_TO_COME {
        assert!(expected.remove(&(status.to_owned(), code.to_owned())), "{code}");
    }
    assert_eq!(codes(operations(&document)["POST /api/payments/webhook"]), expected);
}

#[test]
fn every_code_of_the_contract_is_described_and_no_other() {
    let document = document();
    let table = rows("| answer | `code` | when |");
    let mut expected: Names = table.flat_map(|row| names(quoted(row[1]))).collect();
    // Elsewhere, a code stands after its status: 409 `order_paid`.
    let text = [5, 6, 8].map(section).join(" ");
    let pieces: Vec<_> = text.split('`').collect();
    let is_code = |word: &str| word.contains('_') && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let stands_after_a_status = |text: &str| text.trim_end().ends_with(|c: char| c.is_ascii_digit());
    let codes_in_text = pieces.windows(2).filter(|pair| stands_after_a_status(pair[0]) && is_code(pair[1]));
    expected.extend(codes_in_text.map(|pair| pair[1].to_owned()));
    let described: Names =
        operations(&document).values().flat_map(|operation| codes(operation)).map(|(_, code)| code).collect();
    assert_eq!(described, so_far(expected, &CODES_TO_COME));
}

#[test]
fn a_callback_s_fields_are_those_of_the_table() {
    let document = document();
    let notification = schema(&document, "Notification");
    let (mut all, mut required) = (Names::new(), Names::new());
    for row in rows("| field | rule |") {
        let fields: Vec<_> = quoted(row[0]).collect();
        all.extend(names(&fields));
        if row[1].starts_with("required") {
            required.extend(names(&fields));
        }
        for field in fields {
            let described = resolved(&document, &notification["properties"][field]);
            let words = names(quoted(row[1]));
            match field {
                "status" => assert_eq!(strings(&described["enum"]), words),
                // It decides nothing, so any other will do.
                "paymentMethod" => {
                    assert_eq!((strings(&described["examples"]), &described["type"]), (words, &Value::Null))
                }
                _ => {}
            }
            if row[1].contains("1 to 255 characters") {
                assert_eq!((&described["minLength"], &described["maxLength"]), (&1.into(), &255.into()), "{field}");
            }
        }
    }
    assert_eq!(properties(notification), all);
    assert_eq!(strings(&notification["required"]), required);
    assert!(members(&section(3), "`payment_webhook`)").is_subset(&all));
    assert_ne!(notification["additionalProperties"], false);
}

#[test]
fn a_registration_s_fields_are_those_of_the_contract() {
    let document = document();
    let registration = schema(&document, "Registration");
    let section = section(5);
    let mut expected = members(&section, "made it:");
    let optional = after(&section, "register`").split("are optional").next().unwrap_or_default();
    let optional = names(quoted(after(optional, "uses;")));
    // Either name will do.
    let required: Names =
        expected.iter().filter(|name| *name != "externalPaymentId" && !optional.contains(*name)).cloned().collect();
    expected.insert("paymentId".to_owned());
    assert_eq!(properties(registration), expected);
    assert_eq!(strings(&registration["required"]), required);
    assert_eq!(registration["anyOf"].as_array().map(Vec::len), Some(2));
}

#[test]
fn outcomes_are_those_of_the_contract() {
    let document = document();
    let settled: Names = rows("| `outcome` | meaning |").flat_map(|row| names(quoted(row[0]))).collect();
    assert_eq!(strings(&schema(&document, "SettledOutcome")["enum"]), settled);
    let section = section(3);
    let others = after(&section, "one of the above, or ").split('.').next().unwrap_or_default();
    let all: Names = settled.into_iter().chain(names(quoted(others))).collect();
    assert_eq!(strings(&schema(&document, "Outcome")["enum"]), so_far(all, &OUTCOMES_TO_COME));
}

#[test]
fn documents_have_the_fields_of_the_contract() {
    let document = document();
    let all = section(8);
    let all = all.split(" - ").filter_map(|item| item.split_once(": `")).map(|(name, _)| name);
    let all = names(all.filter(|name| name.chars().all(char::is_alphabetic)));
    for name in all {
        let (fields, words) = listed(&name);
        let described = schema(&document, &name);
        assert_eq!(properties(described), fields, "{name}");
        assert_eq!(strings(&described["required"]), fields, "{name}: what is absent is null");
        for (field, to_come) in [("source", SOURCES_TO_COME.as_slice()), ("status", &[]), ("state", &[])] {
            let Some(words) = words.get(field).filter(|words| !words.is_empty()) else { continue };
            let of_field = resolved(&document, &described["properties"][field]);
            assert_eq!(strings(&of_field["enum"]), so_far(words.clone(), to_come), "{name}.{field}");
        }
    }
    assert_eq!(properties(schema(&document, "Settled")), members(&section(3), "Success:"));
    let section = section(3);
    let problem = after(&section, "`application/problem+json`:").split("Every response").next().unwrap_or_default();
    let (required, optional) = problem.split_once("(+").expect("members of some problems");
    assert_eq!(strings(&schema(&document, "Problem")["required"]), names(quoted(required)));
    let all = names(quoted(required).chain(quoted(optional)));
    assert_eq!(properties(schema(&document, "Problem")), all);
}

#[test]
fn an_event_has_the_types_and_the_attempts_of_the_contract() {
    let document = document();
    let types = section(7);
    let types = names(quoted(types.split(", posted to").next().unwrap_or_default()));
    assert_eq!(strings(&schema(&document, "EventType")["enum"]), types);
    let parts = schema(&document, "EventHistory")["allOf"].as_array().expect("an event and what is added");
    assert_eq!(resolved(&document, &parts[0]), schema(&document, "Event"));
    assert_eq!(properties(&parts[1]), names(["history"]));
    let section = section(8);
    let of_attempt = quoted(after(&section, "the attempts, newest first: ")).next().expect("fields");
    assert_eq!(properties(schema(&document, "EventAttempt")), names(of_attempt.split(", ")));
}

#[test]
fn answers_are_the_documents_of_the_contract() {
    let document = document();
    let operations = operations(&document);
    let section = section(8);
    for (words, routes) in [
        ("`GET /api/payments/{id}`:", ["GET /api/payments/{id}"].as_slice()),
        ("`POST …/cancel`:", &["GET /api/orders/{id}", "POST /api/orders/{id}/cancel"]),
        ("registration:", &["POST /api/payments", "POST /api/marathon/payment/register"]),
        ("replay:", &["POST /api/deliveries/{id}/replay"]),
    ] {
        let object = quoted(after(&section, words)).next().expect("an object");
        let mut expected = names(object.split('"').skip(1).step_by(2));
        if words.contains("payments/{id}") {
            // Section 6: where there are more deliveries.
            expected.insert("nextCursor".to_owned());
        }
        for route in routes {
            assert_eq!(properties(success(&document, operations[*route])), expected, "{route}");
        }
    }
    let redelivered = self::section(6);
    let redelivered = quoted(after(&redelivered, "at most 10,000: ")).next().expect("an object");
    let expected = names(redelivered.split('"').skip(1).step_by(2));
    assert_eq!(properties(success(&document, operations["POST /api/events/redeliver"])), expected);
    let lists = quoted(after(&section, "lists:")).next().expect("an object");
    let (lists, cursor) = lists.split_once(':').expect("a member for each list");
    for list in lists.split('"').skip(1).step_by(2) {
        let route = format!("GET /api/{list}");
        if !ROUTES_TO_COME.contains(&&*route) {
            let expected = names([list, cursor.split('"').nth(1).expect("another member")]);
            assert_eq!(properties(success(&document, operations[&route])), expected, "{route}");
        }
    }
    let section = self::section(5);
    let statuses = quoted(&section).filter_map(|text| text.strip_prefix(r#"{"status":""#)?.strip_suffix(r#""}"#));
    let statuses = names(statuses);
    assert_eq!(strings(&schema(&document, "RegistrationStatus")["enum"]), statuses);
}

#[test]
fn every_reference_leads_somewhere() {
    fn follow(document: &Value, value: &Value) {
        resolved(document, value);
        match value {
            Value::Object(members) => members.values().for_each(|value| follow(document, value)),
            Value::Array(values) => values.iter().for_each(|value| follow(document, value)),
            _ => {}
        }
    }
    let document = document();
    follow(&document, &document);
}

#[test]
fn every_route_answers_strangers_as_described() {
    let app = TestApp::open(Store::sqlite());
    let document = ok(app.send(&Request::get("/api/openapi.json")));
    for (route, operation) in operations(&document) {
        let (method, path) = route.split_once(' ').expect("a method");
        let target = path.replace("{id}", "x").replace("{file}", "start.js");
        let answer = app.send(&Request::new(method, &target));
        let secured = operation["security"].is_array();
        assert_eq!(answer.status, if secured { 401 } else { 200 }, "{route}");
        let described = &operation["responses"][answer.status.to_string()];
        let content_type = answer.header("content-type").and_then(|text| text.split(';').next()).expect("a type");
        assert!(described["content"][content_type].is_object(), "{route}: {content_type}");
        for (name, header) in described["headers"].as_object().expect("headers") {
            assert_eq!(header["required"], true);
            assert!(answer.header(&name.to_lowercase()).is_some(), "{route}: {name}");
        }
        let allowed = if method == "GET" { "GET, HEAD" } else { method };
        for other in ["GET", "POST", "PUT", "PATCH", "DELETE"].into_iter().filter(|other| *other != method) {
            let answer = app.send(&Request::new(other, &target));
            assert_problem(&answer, 405, "method_not_allowed");
            assert_eq!(answer.header("allow"), Some(allowed), "{other} {target}");
            let allow = &operation["responses"]["405"]["headers"]["Allow"]["schema"]["enum"];
            assert_eq!(strings(allow), names([allowed]), "{route}");
        }
    }
}

#[test]
fn every_answer_is_described_with_its_headers() {
    let document = document();
    for (route, operation) in operations(&document) {
        let responses = operation["responses"].as_object().expect("responses");
        let secured = operation["security"].is_array();
        assert_eq!(responses.contains_key("401"), secured, "{route}");
        for (status, response) in responses {
            let has = |name: &str| response["headers"][name].is_object();
            assert!(has("X-Request-Id"), "{route} {status}");
            assert_eq!(has("Retry-After"), status == "503", "{route} {status}");
            assert_eq!(has("Allow"), status == "405", "{route} {status}");
            assert_eq!(has("WWW-Authenticate"), status == "401", "{route} {status}");
        }
    }
}

#[test]
fn the_page_fetches_nothing_from_elsewhere() {
    let app = TestApp::open(Store::sqlite());
    let page = app.send(&Request::get("/docs"));
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; "), "{policy}");
    assert!(!policy.contains("http") && !policy.contains("unsafe-eval"), "{policy}");
    let html = String::from_utf8(page.body.clone()).expect("text");
    assert!(!html.contains("//"), "{html}");
    let named = html.split('"').filter(|text| text.starts_with("docs/"));
    let mut files = Vec::new();
    for file in named {
        let answer = app.send(&Request::get(&format!("/{file}")));
        assert_eq!(answer.status, 200, "{file}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{file}");
        let gzipped = answer.header("content-encoding") == Some("gzip");
        assert_eq!(gzipped, answer.body.starts_with(&[0x1f, 0x8b]), "{file}");
        files.push((file.split('?').next().unwrap_or_default(), answer.header("content-type").map(str::to_owned)));
    }
    let (script, style) = (Some("text/javascript".to_owned()), Some("text/css".to_owned()));
    assert_eq!(
        files,
        [("docs/swagger-ui.css", style), ("docs/swagger-ui-bundle.js", script.clone()), ("docs/start.js", script)]
    );
    // At /docs/ a browser asks for the same names below it.
    assert_eq!(app.send(&Request::get("/docs/")).body, page.body);
    for file in files.iter().map(|(file, _)| *file).chain(["api/openapi.json"]) {
        assert_eq!(app.send(&Request::get(&format!("/docs/{file}"))).status, 200, "{file}");
    }
    for nothing in ["/docs/swagger-ui.js", "/docs/..%2fdocs", "/docs/start.js/x"] {
        assert_problem(&app.send(&Request::get(nothing)), 404, "not_found");
    }
}
