//! Reading of structured files: the configuration file and rulesets.
//!
//! Owns the notation: JSON, else YAML 1.2. Takes the text, gives what a type says of its shape and the line
//! of each key, or everything that is wrong with it at once. The check is the schema's, so that an editor
//! says the same.

use std::collections::BTreeMap;
use std::path::Path;

use jsonschema::error::ValidationErrorKind;
use saphyr::{LoadableYamlNode as _, MarkedYamlOwned, ScalarOwned, YamlDataOwned};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use crate::cli::usage::presentable;

/// A file that has been read.
#[derive(Debug)]
pub(in crate::cli) struct Document<T> {
    /// What it says.
    pub(in crate::cli) file: T,
    /// Line of each key, from 1, by dotted path.
    pub(in crate::cli) lines: Lines,
}

/// Lines by dotted path.
pub(in crate::cli) type Lines = BTreeMap<String, usize>;

/// Reads the text of the file called `name`; complaints call the whole of it `root`.
pub(in crate::cli) fn read<T: DeserializeOwned + JsonSchema>(
    (root, name): (&str, &str),
    text: &str,
) -> Result<Document<T>, Vec<String>> {
    let mut lines = Lines::new();
    let only_json = Path::new(name).extension().is_some_and(|end| end.eq_ignore_ascii_case("json"));
    let yaml = yaml(text, &mut lines);
    let value = match (serde_json::from_str(text), yaml) {
        // A key that stands twice is seen by the other reader only.
        (Ok(_json), Err(problem)) if problem.contains("duplicate") => {
            return Err(vec![format!("{}: {problem}", name.escape_debug())]);
        }
        (Ok(json), _) => json,
        (Err(_), Ok(value)) if !only_json => value,
        (Err(problem), Ok(_)) => return Err(vec![format!("{}: {problem}", name.escape_debug())]),
        (Err(json), Err(yaml)) => {
            let problem = if only_json || text.trim_start().starts_with('{') {
                json.to_string()
            } else {
                yaml
            };
            return Err(vec![format!("{}: {}", name.escape_debug(), presentable(&problem))]);
        }
    };
    // An empty file says nothing.
    let value = if value.is_null() { Value::Object(Map::new()) } else { value };
    let complaints = complaints::<T>((root, name), &value, &lines);
    if !complaints.is_empty() {
        return Err(complaints);
    }
    let file = serde_json::from_value(value)
        .map_err(|problem| vec![format!("{}: {problem}", name.escape_debug())])?;
    Ok(Document { file, lines })
}

/// The schema, without references, and without null, which no key takes.
pub(in crate::cli) fn schema_of<T: JsonSchema>() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    strip_null(&mut schema);
    schema
}

fn strip_null(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::Array(kinds)) = fields.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [kind] = kinds.as_slice() {
                    let kind = kind.clone();
                    fields.insert("type".to_owned(), kind);
                }
            }
            if let Some(Value::Array(choices)) = fields.get_mut("anyOf") {
                choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
                if let [Value::Object(choice)] = choices.as_slice() {
                    let choice = choice.clone();
                    fields.remove("anyOf");
                    for (key, value) in choice {
                        fields.entry(key).or_insert(value);
                    }
                }
            }
            // What is absent is not null, and defaults are those of the options.
            fields.remove("default");
            fields.values_mut().for_each(strip_null);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_null),
        _ => {}
    }
}

/// Everything that is wrong, in the order of lines.
fn complaints<T: JsonSchema>(
    (root, name): (&str, &str),
    value: &Value,
    lines: &Lines,
) -> Vec<String> {
    let schema = schema_of::<T>();
    let Ok(validator) = jsonschema::validator_for(&schema) else {
        return vec!["the schema of awf is broken; this is a defect of awf".to_owned()];
    };
    let mut found = Vec::new();
    for error in validator.iter_errors(value) {
        let path: Vec<String> =
            error.instance_path().as_str().split('/').skip(1).map(unescape).collect();
        let node = node(&schema, &path);
        let mut say = |path: &[String], problem: String| {
            let line = line(lines, path);
            let place = line.map(|line| format!(" ({}:{line})", name.escape_debug()));
            let key = presentable(&dotted(path)).replace('\n', "\u{fffd}");
            let dot = if key.is_empty() { "" } else { "." };
            found.push((line, format!("{root}{dot}{key} {problem}{}", place.unwrap_or_default())));
        };
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                for key in unexpected {
                    let remedy = similar(key, node).map(|key| format!("; did you mean '{key}'?"));
                    let path = [&*path, std::slice::from_ref(key)].concat();
                    say(&path, format!("is not supported{}", remedy.unwrap_or_default()));
                }
            }
            ValidationErrorKind::Required { property } => {
                let key = property.as_str().unwrap_or_default().to_owned();
                say(&[&*path, &[key]].concat(), "is missing".to_owned());
            }
            _ => say(&path, format!("must be {}", expectation(node))),
        }
    }
    found.sort();
    found.dedup();
    found.into_iter().map(|(_line, text)| text).collect()
}

/// A part of a JSON pointer (RFC 6901).
fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// `a.b[3].c`.
fn dotted(path: &[String]) -> String {
    path.iter().fold(String::new(), |text, part| {
        if part.bytes().all(|byte| byte.is_ascii_digit()) && !part.is_empty() {
            format!("{text}[{part}]")
        } else if text.is_empty() {
            part.clone()
        } else {
            format!("{text}.{part}")
        }
    })
}

/// The line of the key, else of what holds it.
fn line(lines: &Lines, path: &[String]) -> Option<usize> {
    (1..=path.len()).rev().find_map(|depth| lines.get(&dotted(path.get(..depth)?)).copied())
}

/// The schema of the value at `path`.
fn node<'a>(schema: &'a Value, path: &[String]) -> &'a Value {
    path.iter().fold(schema, |node, part| {
        let below = |keyword: &str| node.get(keyword);
        below("properties")
            .and_then(|properties| properties.get(part))
            .or_else(|| below("items"))
            .or_else(|| below("additionalProperties").filter(|below| below.is_object()))
            .unwrap_or(node)
    })
}

/// What a value must be, in words.
fn expectation(node: &Value) -> String {
    let kind = node.get("type").and_then(Value::as_str);
    let choices = |key| node.get(key).and_then(Value::as_array);
    if let Some(words) = choices("enum") {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        return format!("one of: {}", words.join(", "));
    }
    if let Some(kinds) = choices("anyOf").or_else(|| choices("oneOf")) {
        let constants: Vec<&str> =
            kinds.iter().filter_map(|kind| kind.get("const").and_then(Value::as_str)).collect();
        if !constants.is_empty() {
            return format!("one of: {}", constants.join(", "));
        }
        return kinds.iter().map(expectation).collect::<Vec<_>>().join(" or ");
    }
    if let Some(only) = node.get("const") {
        return only.to_string();
    }
    let of_objects = || node.pointer("/items/type").is_some_and(|kind| kind == "object");
    match kind {
        Some("string") if node.get("minLength").is_some() => "a string that is not empty",
        Some("string") => "a string",
        Some("array") if of_objects() => "a list of rules",
        Some("boolean") => "a boolean",
        Some("integer") => "a positive integer",
        Some("number") => "a positive number",
        Some("array") => "an array of strings",
        _ => "an object",
    }
    .to_owned()
}

/// The key that was probably meant.
fn similar<'a>(key: &str, node: &'a Value) -> Option<&'a str> {
    let keys = node.get("properties")?.as_object()?.keys();
    keys.map(|known| (strsim::jaro_winkler(&known.to_lowercase(), &key.to_lowercase()), known))
        .filter(|(likeness, _known)| *likeness > 0.85)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_likeness, known)| known.as_str())
}

/// Reads YAML and notes the line of each key.
fn yaml(text: &str, lines: &mut Lines) -> Result<Value, String> {
    let documents = MarkedYamlOwned::load_from_str(text).map_err(|error| error.to_string())?;
    match documents.as_slice() {
        [] => Ok(Value::Null),
        [document] => convert(document, &mut Vec::new(), lines),
        _ => Err("more than one document".to_owned()),
    }
}

fn convert(
    node: &MarkedYamlOwned,
    path: &mut Vec<String>,
    lines: &mut Lines,
) -> Result<Value, String> {
    let line = node.span.start.line();
    Ok(match &node.data {
        YamlDataOwned::Value(ScalarOwned::Null) => Value::Null,
        YamlDataOwned::Value(ScalarOwned::Boolean(value)) => Value::Bool(*value),
        YamlDataOwned::Value(ScalarOwned::Integer(value)) => Value::Number((*value).into()),
        YamlDataOwned::Value(ScalarOwned::FloatingPoint(value)) => {
            let number = Number::from_f64(value.into_inner());
            Value::Number(number.ok_or_else(|| format!("line {line}: not a number"))?)
        }
        YamlDataOwned::Value(ScalarOwned::String(value)) => Value::String(value.clone()),
        YamlDataOwned::Sequence(items) => {
            let mut list = Vec::new();
            for (index, item) in items.iter().enumerate() {
                path.push(index.to_string());
                lines.insert(dotted(path), item.span.start.line());
                list.push(convert(item, path, lines)?);
                path.pop();
            }
            Value::Array(list)
        }
        YamlDataOwned::Mapping(fields) => {
            let mut object = Map::new();
            for (key, value) in fields {
                let YamlDataOwned::Value(ScalarOwned::String(name)) = &key.data else {
                    let line = key.span.start.line();
                    return Err(format!("line {line}: a key must be a string"));
                };
                path.push(name.clone());
                lines.insert(dotted(path), key.span.start.line());
                object.insert(name.clone(), convert(value, path, lines)?);
                path.pop();
            }
            Value::Object(object)
        }
        _ => return Err(format!("line {line}: tags and aliases are not read")),
    })
}

#[cfg(test)]
mod tests {
    use super::super::schema::File;
    use super::*;

    #[track_caller]
    fn refusals(name: &str, text: &str) -> Vec<String> {
        read::<File>(("config", name), text).unwrap_err()
    }

    #[track_caller]
    fn refusal(text: &str) -> String {
        let found = refusals("c.yml", text);
        assert_eq!(found.len(), 1, "{found:#?}");
        found[0].clone()
    }

    #[test]
    fn json_and_yaml_are_read_whatever_the_name() {
        for (name, text) in [
            ("c.json", r#"{"network":{"allowDomains":["a.com"]}}"#),
            ("c.yml", r#"{"network":{"allowDomains":["a.com"]}}"#),
            ("-", "network:\n  allowDomains:\n    - a.com\n"),
            ("c.yaml", "network: {allowDomains: [a.com]}"),
            ("c", "\t{\"network\":\t{\"allowDomains\":[\"\\u0061.com\"]}}"),
        ] {
            let file = read::<File>(("config", name), text).unwrap().file;
            assert_eq!(file.network.allow_domains, Some(vec!["a.com".to_owned()]), "{name}");
        }
        assert!(refusals("c.json", "network: {}")[0].starts_with("c.json: "));
    }

    #[test]
    fn an_empty_file_says_nothing() {
        for text in ["", "# nothing\n", "{}", "---\n"] {
            let file = read::<File>(("config", "c.yml"), text).unwrap().file;
            assert_eq!(file, File::default(), "{text:?}");
        }
    }

    #[test]
    fn everything_wrong_is_told_at_once_with_its_line() {
        let text =
            "network:\n  allowDomain: [a]\n  dnsServers: x\ncontainer:\n  pidsLimit: 0\nbogus: 1\n";
        assert_eq!(
            refusals("c.yml", text),
            [
                "config.network.allowDomain is not supported; did you mean 'allowDomains'? (c.yml:2)",
                "config.network.dnsServers must be an array of strings (c.yml:3)",
                "config.container.pidsLimit must be a positive integer (c.yml:5)",
                "config.bogus is not supported (c.yml:6)",
            ]
        );
    }

    #[test]
    fn shapes_are_named_in_words() {
        for (text, end) in [
            ("network: 1", "config.network must be an object (c.yml:1)"),
            (
                "network: {allowDomains: [1]}",
                "config.network.allowDomains[0] must be a string (c.yml:1)",
            ),
            ("network: {isolation: 'yes'}", "config.network.isolation must be a boolean (c.yml:1)"),
            (
                "security: {allowHostPorts: true}",
                "must be a positive integer or a string or an array of strings (c.yml:1)",
            ),
            (
                "apiProxy: {maxAiCredits: 0}",
                "config.apiProxy.maxAiCredits must be a positive number (c.yml:1)",
            ),
            (
                "apiProxy: {models: {a: b}}",
                "config.apiProxy.models.a must be an array of strings (c.yml:1)",
            ),
            (
                "platform: {type: x}",
                "must be one of: github.com, ghes, ghec, ghec-self-hosted (c.yml:1)",
            ),
            ("logging: {logLevel: ~}", "config.logging.logLevel must be a string (c.yml:1)"),
            (
                "chroot: {identity: {uid: -1}}",
                "config.chroot.identity.uid must be a positive integer (c.yml:1)",
            ),
            ("[]", "config must be an object"),
        ] {
            let found = refusal(text);
            assert!(found.ends_with(end), "{text}: {found}");
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        for text in ["network: {}\nnetwork: {}", r#"{"network":{},"network":{}}"#] {
            assert!(refusal(text).contains("duplicate"), "{}", refusal(text));
        }
    }

    #[test]
    fn tricks_of_yaml_are_refused_or_bounded() {
        refusal("--- {}\n--- {}");
        refusal("{1: x}");
        refusal("network: !tag {}");
        let bomb = (0..40).fold("a0: &a0 [x]\n".to_owned(), |text, index| {
            format!("{text}a{}: &a{} [*a{index}, *a{index}]\n", index + 1, index + 1)
        });
        assert!(!refusals("c.yml", &bomb).is_empty());
        let deep = "[".repeat(100_000);
        assert!(!refusals("c.yml", &deep).is_empty());
    }

    #[test]
    fn no_complaint_passes_control_characters_on() {
        for text in ["{\"\\u001b[2J\": 1}", "\"a\\n\u{9b}\": 1", "\u{1b}[2J: 1", "- \u{7}"] {
            for complaint in refusals("c\u{1b}.yml", text) {
                assert!(!complaint.contains(char::is_control), "{complaint:?}");
            }
        }
    }

    #[test]
    fn the_schema_is_closed_and_speaks_of_no_null() {
        let text = schema_of::<File>().to_string();
        assert!(!text.contains("null") && !text.contains("$ref"), "{text}");
        let closed = text.matches("\"additionalProperties\":false").count();
        assert_eq!(closed, text.matches("\"properties\":").count());
        assert!(closed > 15);
    }
}
