//! Whatever stands in a file or a variable, the answer is a configuration or findings.

use proptest::prelude::*;

use super::super::file::KEYS;
use super::super::load;
use super::{Desk, LEAST};

/// Pieces of configurations, so that the parser gets further than the first byte.
fn pieces() -> impl Strategy<Value = String> {
    let keys = prop::sample::select(KEYS.iter().map(|(key, _)| *key).collect::<Vec<_>>());
    let value = prop_oneof![
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        Just("1e9".to_owned()),
        Just("2024-01-01".to_owned()),
        "\"[ -~]{0,12}\"",
        "\\[(\"[a-z:/.0-9]{0,9}\", ?){0,3}\\]",
        "\\{ [a-zA-Z._-]{1,9} = [0-9\"]{1,3} \\}",
        ".{0,9}",
    ];
    let line = (keys, value).prop_map(|(key, value)| format!("{key} = {value}\n"));
    prop::collection::vec(prop_oneof![4 => line, 1 => "\\[[a-z.]{0,12}\\]\n", 1 => ".{0,20}\n"], 0..12)
        .prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_has_findings(text in prop_oneof![pieces(), any::<String>()]) {
        let told = load(&Desk::with(&text).sources);
        prop_assert!(told.is_ok() || told.is_err_and(|findings| !findings.to_string().is_empty()));
    }

    #[test]
    fn any_bytes_are_a_configuration_or_have_findings(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let told = load(&Desk::with(bytes).sources);
        prop_assert!(told.is_ok() || told.is_err_and(|findings| !findings.to_string().is_empty()));
    }

    #[test]
    fn any_variable_is_a_value_or_a_finding(index in 0..KEYS.len(), value in ".{0,30}") {
        let (key, _) = KEYS[index];
        let name = format!("COMFY_GUARD_{}", key.replace('.', "__").to_uppercase());
        let told = load(&Desk::with(LEAST).variable(&name, &value).sources);
        prop_assert!(told.is_ok() || told.is_err_and(|findings| !findings.to_string().is_empty()));
    }
}

#[test]
fn a_hostile_file_costs_little() {
    for text in ["a.".repeat(500_000) + "a = 1", "a = ".to_owned() + &"[".repeat(1_000_000), "[a]\n".repeat(200_000)] {
        Desk::with(text).findings();
    }
    let many: String = (0..60_000).map(|index| format!("k{index} = 1\n")).collect();
    assert_eq!(Desk::with(many).findings().matches("unknown key").count(), 30);
}
