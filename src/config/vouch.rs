//! One layer by itself: every key known, every value well spelt, and all that is wrong with it at once.
//!
//! `config` merges well but cites nothing, so each layer passes through `toml` first, which knows every byte's place.

use std::ops::Range;

use config::{Map, Value};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

use super::file::Spec;
use super::report::{Finding, Place, Places};

/// A file with more than this wrong is not a configuration; the rest would only scroll the first lines away.
const MOST_FINDINGS: usize = 30;

/// What is left of a layer, and what was wrong with it.
#[derive(Debug, Default)]
pub(super) struct Vouched {
    /// The values that are known and well spelt.
    pub(super) values: Map<String, Value>,
    /// Where each of them was written.
    pub(super) places: Places,
    /// What is wrong.
    pub(super) findings: Vec<Finding>,
    /// The keys whose value is not known because of that; "" stands for all of them.
    pub(super) unsettled: Vec<String>,
}

/// Reads a layer's text. `place` says where a range of its bytes was written.
pub(super) fn vouch(text: &str, place: impl Fn(Range<usize>) -> Place) -> Vouched {
    let mut vouched = Vouched::default();
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            // What follows a syntax error is guesswork: it is told alone.
            let place = place(error.span().unwrap_or(0..0));
            vouched.findings.push(Finding { place, message: message(&error) });
            vouched.unsettled.push(String::new());
            return vouched;
        }
    };
    record(table.get_ref(), "", &place, &mut vouched.places);
    let table = strike_out_what_is_wrong(table, &place, &mut vouched);
    vouched.values = into_map(table.into_inner());
    vouched
}

/// serde stops at the first error: that one is told and struck out, and the rest is read again.
fn strike_out_what_is_wrong<'i>(
    mut table: Spanned<DeTable<'i>>,
    place: &impl Fn(Range<usize>) -> Place,
    vouched: &mut Vouched,
) -> Spanned<DeTable<'i>> {
    let mut wrong: Vec<(Range<usize>, String)> = Vec::new();
    while let Err(error) = read(&table) {
        let span = error.span().unwrap_or(0..0);
        let struck = strike(table.get_mut(), &span, "");
        match &struck {
            Some((key, DeValue::Array(items))) => {
                wrong.extend(wrong_elements(key, items).unwrap_or_else(|| vec![(span, message(&error))]))
            }
            _ => wrong.push((span, message(&error))),
        }
        match struck {
            Some((key, _)) if wrong.len() < MOST_FINDINGS => vouched.unsettled.push(key),
            _ => {
                vouched.unsettled.push(String::new());
                table = Spanned::new(table.span(), DeTable::new());
            }
        }
    }
    wrong.sort_by_key(|(span, _)| span.start);
    wrong.truncate(MOST_FINDINGS);
    let finding = |(span, message)| Finding { place: place(span), message };
    vouched.findings.extend(wrong.into_iter().map(finding));
    table
}

/// `toml` cites a list as a whole: each element is read as a list of its own to find those that are meant.
/// None: no element is wrong by itself, so the list is.
fn wrong_elements(key: &str, items: &DeArray<'_>) -> Option<Vec<(Range<usize>, String)>> {
    let mut wrong = Vec::new();
    for item in items {
        let mut alone = DeArray::new();
        alone.push(item.clone());
        let list = Spanned::new(item.span(), DeValue::Array(alone));
        let table = key.rsplit('.').fold(list, |inner, segment| {
            let entry = (Spanned::new(item.span(), segment.into()), inner);
            Spanned::new(item.span(), DeValue::Table(DeTable::from_iter([entry])))
        });
        if let DeValue::Table(table) = table.into_inner()
            && let Err(error) = read(&Spanned::new(item.span(), table))
        {
            wrong.push((item.span(), message(&error)));
        }
        if wrong.len() >= MOST_FINDINGS {
            break;
        }
    }
    (!wrong.is_empty()).then_some(wrong)
}

fn read(table: &Spanned<DeTable<'_>>) -> Result<Spec, toml::de::Error> {
    Spec::deserialize(Deserializer::from(table.clone()))
}

/// serde's words in a person's.
fn message(error: &toml::de::Error) -> String {
    let words = [("unknown field", "unknown key"), ("expected i64", "expected a whole number"), ("\n", ", ")];
    let text = error.message().trim_end().to_owned();
    words.iter().fold(text, |text, (theirs, ours)| text.replace(theirs, ours))
}

/// Notes where every key and every element of a list stands.
fn record(table: &DeTable<'_>, prefix: &str, place: &impl Fn(Range<usize>) -> Place, places: &mut Places) {
    for (key, value) in table {
        let path = below(prefix, key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => record(inner, &path, place, places),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    places.insert(format!("{path}.{index}"), place(item.span()));
                }
            }
            _ => {}
        }
        places.insert(path, place(value.span()));
    }
}

/// Removes the innermost entry that the range lies in; returns its key and its value.
fn strike<'i>(table: &mut DeTable<'i>, wrong: &Range<usize>, prefix: &str) -> Option<(String, DeValue<'i>)> {
    let mut struck = None;
    for (key, value) in table.iter_mut() {
        let path = below(prefix, key.get_ref());
        if let DeValue::Table(inner) = value.get_mut()
            && let Some(inner) = strike(inner, wrong, &path)
        {
            return Some(inner);
        }
        if covers(&key.span(), wrong) || covers(&value.span(), wrong) {
            struck = Some((key.clone(), path));
            break;
        }
    }
    let (key, path) = struck?;
    table.remove(&key).map(|value| (path, value.into_inner()))
}

fn covers(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

fn below(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

fn into_map(table: DeTable<'_>) -> Map<String, Value> {
    let entry = |(key, value): (Spanned<_>, Spanned<_>)| Some((cow(key), into_value(value.into_inner())?));
    table.into_iter().filter_map(entry).collect()
}

fn cow(key: Spanned<std::borrow::Cow<'_, str>>) -> String {
    key.into_inner().into_owned()
}

fn into_value(value: DeValue<'_>) -> Option<Value> {
    let origin = None;
    match value {
        DeValue::String(text) => Some(Value::new(origin, text.into_owned())),
        DeValue::Boolean(flag) => Some(Value::new(origin, flag)),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| Value::new(origin, number))
        }
        DeValue::Array(items) => {
            let items: Vec<Value> = items.into_iter().filter_map(|item| into_value(item.into_inner())).collect();
            Some(Value::new(origin, items))
        }
        DeValue::Table(table) => Some(Value::new(origin, into_map(table))),
        DeValue::Float(number) => number.as_str().parse::<f64>().ok().map(|number| Value::new(origin, number)),
        // No key takes one, so none is left by now.
        DeValue::Datetime(_) => None,
    }
}
