//! Reading of structured files: the configuration file and rulesets.
//!
//! Owns the notation: JSON, else YAML 1.2. Takes the text, gives what a type says of its shape and the line
//! of each key, or everything that is wrong with it at once. The check is the schema's, so that an editor
//! says the same.

use std::collections::BTreeMap;

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
    let yaml = yaml(text, &mut lines);
    let value = match (serde_json::from_str(text), yaml) {
        // A key that stands twice is seen by the other reader only.
        (Ok(_json), Err(problem)) if problem.contains("duplicate") => {
            return Err(vec![format!("{}: {problem}", name.escape_debug())]);
        }
        (Ok(json), _) => json,
        (Err(_), Ok(value)) if !name.ends_with(".json") => value,
        (Err(problem), Ok(_)) => return Err(vec![format!("{}: {problem}", name.escape_debug())]),
        (Err(json), Err(yaml)) => {
            let problem = if name.ends_with(".json") || text.trim_start().starts_with('{') {
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
pub(super) fn schema<T: JsonSchema>() -> Value {
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
    let schema = schema::<T>();
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
