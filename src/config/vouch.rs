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
            vouched.findings.push(finding(&error, &place));
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
    while let Err(error) = Spec::deserialize(Deserializer::from(table.clone())) {
        vouched.findings.push(finding(&error, place));
        let struck = error.span().and_then(|span| strike(table.get_mut(), &span, ""));
        let more = vouched.findings.len() < MOST_FINDINGS;
        match struck {
            Some(key) if more => vouched.unsettled.push(key),
            _ => {
                vouched.unsettled.push(String::new());
                return Spanned::new(table.span(), DeTable::new());
            }
        }
    }
    table
}

fn finding(error: &toml::de::Error, place: &impl Fn(Range<usize>) -> Place) -> Finding {
    let message = error.message().trim_end().replace("unknown field", "unknown key").replace('\n', ", ");
    Finding { place: place(error.span().unwrap_or(0..0)), message }
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

/// Removes the innermost entry or element that the range lies in; returns the key that it stood under.
fn strike(table: &mut DeTable<'_>, wrong: &Range<usize>, prefix: &str) -> Option<String> {
    let mut struck = None;
    for (key, value) in table.iter_mut() {
        let path = below(prefix, key.get_ref());
        let inner = match value.get_mut() {
            DeValue::Table(inner) => strike(inner, wrong, &path),
            DeValue::Array(items) => strike_element(items, wrong).then(|| path.clone()),
            _ => None,
        };
        if inner.is_some() {
            return inner;
        }
        if covers(&key.span(), wrong) || covers(&value.span(), wrong) {
            struck = Some((key.clone(), path));
            break;
        }
    }
    let (key, path) = struck?;
    table.remove(&key);
    Some(path)
}

fn strike_element(items: &mut DeArray<'_>, wrong: &Range<usize>) -> bool {
    let before = items.len();
    let all = std::mem::replace(items, DeArray::new());
    for item in all {
        if !covers(&item.span(), wrong) {
            items.push(item);
        }
    }
    items.len() < before
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
        // No key takes one of these, so none is left by now.
        DeValue::Float(_) | DeValue::Datetime(_) => None,
    }
}
