//! The published JSON Schema of a line of `egress.jsonl`, from the types that write it.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::observe::chain::Signature;
use crate::observe::record::{Record, SCHEMA};
use crate::observe::summary::Summary;

/// Its name, which no machine answers to: a schema is known by it, not fetched.
const ID: &str = "urn:awf:egress:v1";

/// The schema (2020-12). Members that it does not name are free.
pub(super) fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let choices = [
        generator.subschema_for::<Record>(),
        generator.subschema_for::<Summary>(),
        generator.subschema_for::<Signature>(),
    ];
    let mut definitions = generator.take_definitions(true);
    for (name, event) in [("Record", "attempt"), ("Summary", "summary"), ("Signature", "signature")]
    {
        if let Some(Value::Object(definition)) = definitions.get_mut(name) {
            narrow(definition, event);
        }
    }
    // It is a constant in each of them.
    definitions.remove("Event");
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": "A line of egress.jsonl",
        "description": "An attempt of the command to reach something, the end of a run, or the signature of the lines before.",
        "oneOf": choices,
        "$defs": definitions,
    });
    plain(&mut schema);
    schema
}

/// Says what the types cannot: the constants, and the member that a chain adds to a line.
fn narrow(definition: &mut Map<String, Value>, event: &str) {
    definition.insert("additionalProperties".to_owned(), true.into());
    let Some(Value::Object(properties)) = definition.get_mut("properties") else { return };
    let pattern = format!("^{SCHEMA}");
    let mut set = |name: &str, value| properties.insert(name.to_owned(), value);
    set(
        "_schema",
        json!({ "type": "string", "pattern": pattern, "description": "Version of this schema." }),
    );
    set("event", json!({ "const": event, "description": "What the line is." }));
    if event != "signature" {
        let chain = "SHA-256 of the chain's value in the line before (32 zero bytes at first) followed by this line without \
                     this member: hexadecimal. The last member of lines that form a chain.";
        set(
            "chain",
            json!({ "type": "string", "pattern": "^[0-9a-f]{64}$", "description": chain }),
        );
    }
}

/// Takes what only a reader of the source understands out of descriptions: links.
fn plain(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text = text.replace("[`", "`").replace("`]", "`");
            }
            fields.values_mut().for_each(plain);
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use jsonschema::Validator;
    use proptest::prelude::*;

    use super::*;
    use crate::commands::golden::RECORD;
    use crate::commands::lines::Line;
    use crate::observe::chain::Chain;
    use crate::observe::chain::key::{self, SigningKey};
    use crate::observe::record::{Ancestor, Layer, ProcessInfo, to_line};

    fn validator() -> Validator {
        jsonschema::draft202012::meta::validate(&schema()).unwrap();
        jsonschema::draft202012::new(&schema()).unwrap()
    }

    #[track_caller]
    fn check(validator: &Validator, line: &[u8]) {
        let value: Value = serde_json::from_slice(line).unwrap();
        if let Err(error) = validator.validate(&value) {
            panic!("{error}: {}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn every_line_of_the_golden_record_but_the_damaged_one_fits_sealed_or_not() {
        let validator = validator();
        let mut chain = Chain::new();
        for line in RECORD.lines().filter(|line| Line::parse(line.as_bytes()) != Line::Damaged) {
            check(&validator, line.as_bytes());
            check(&validator, &chain.seal(line.as_bytes().to_vec()));
        }
        let signing = SigningKey::parse(key::SAMPLE).unwrap();
        check(&validator, &to_line(&chain.sign(&signing, "r".into())).unwrap());
    }

    #[test]
    fn what_is_no_line_of_a_record_does_not_fit() {
        let validator = validator();
        let line = RECORD.lines().next().unwrap();
        for (from, to) in [
            ("\"allow\"", "\"perhaps\""),
            ("\"pid\": 4101", "\"pid\": \"4101\""),
            ("\"verdict\"", "\"judgement\""),
            ("awf-egress/v1", "awf-egress/v2"),
            ("\"attempt\"", "\"summary\""),
        ] {
            assert!(line.contains(from), "{from}");
            let changed = serde_json::from_str(&line.replacen(from, to, 1)).unwrap();
            assert!(!validator.is_valid(&changed), "{from} {to}");
        }
        let more = serde_json::from_str(&line.replacen('{', "{\"new\": 1, ", 1)).unwrap();
        assert!(validator.is_valid(&more), "additions are free");
    }

    proptest! {
        #[test]
        fn lines_with_any_names_fit(
            comm in any::<String>(), exe in any::<String>(), name in any::<String>(), path in any::<String>(),
        ) {
            let ancestors = vec![Ancestor { pid: 1, comm: comm.clone() }];
            let process = ProcessInfo { comm: Some(comm), exe: Some(exe), ancestors, ..ProcessInfo::default() };
            let record = Record {
                process, name: Some(name.into()), path: Some(path),
                ..Record::denied("t".to_owned(), "r".into(), Layer::Kernel)
            };
            let line = record.to_line().unwrap();
            check(&validator(), &line);
            prop_assert_eq!(Line::parse(&line), Line::Attempt(Box::new(record)));
        }
    }
}
