//! Reading rows, and telling all that fail at once.

use std::fmt::Write as _;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Words that stand for several rows: `@port` with a list `port`, and so on.
const LISTS: [&str; 3] = ["port", "part", "name"];

/// One of the table.
pub trait Row: DeserializeOwned {
    /// What is tried, for a reader.
    fn what(&self) -> String;
    /// What comes of it in awf, for a reader.
    fn becomes(&self) -> String;
    /// Why it is not as in the original.
    fn differs(&self) -> Option<&str>;
    /// Tries it.
    fn check(&self) -> Result<(), String>;
}

/// Tries every row, and fails with all that do.
pub fn every_row<R: Row>(text: &str, at_least: usize) {
    let rows = read::<R>(text);
    assert!(rows.len() >= at_least, "{} rows only", rows.len());
    let different = rows.iter().filter(|row| row.differs().is_some()).count();
    let failures: Vec<String> = rows
        .iter()
        .filter_map(|row| row.check().err().map(|problem| format!("{}: {problem}", row.what())))
        .collect();
    println!("{} rows, {different} of them different on purpose", rows.len());
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), rows.len(), failures.join("\n"));
}

/// Lines of a table of those that differ; "as above" refers to the row above.
pub fn differences<R: Row>(text: &str) -> String {
    let mut lines = String::new();
    let mut above = String::new();
    for row in read::<R>(text) {
        let Some(words) = row.differs() else { continue };
        if words != "as above" {
            words.clone_into(&mut above);
        }
        let cell = |text: String| text.replace('|', "\\|").escape_debug().to_string();
        let _ = writeln!(lines, "| `{}` | {} | {above} |", cell(row.what()), cell(row.becomes()));
    }
    lines
}

fn read<R: Row>(text: &str) -> Vec<R> {
    let rows: Vec<Value> = serde_saphyr::from_str(text).expect("rows are YAML");
    rows.into_iter()
        .flat_map(expanded)
        .map(|row| {
            serde_json::from_value(row.clone()).unwrap_or_else(|error| panic!("{error}: {row}"))
        })
        .collect()
}

/// A row for each word of its list.
fn expanded(mut row: Value) -> Vec<Value> {
    let fields = row.as_object_mut().expect("a row has names");
    let Some((list, words)) = LISTS.iter().find_map(|list| Some((*list, fields.remove(*list)?)))
    else {
        return vec![row];
    };
    let text = row.to_string();
    let word = |word: &Value| word.as_str().map_or_else(|| word.to_string(), str::to_owned);
    words
        .as_array()
        .expect("a list")
        .iter()
        .map(|value| {
            let text = text.replace(&format!("@{list}"), &word(value));
            serde_json::from_str(&text).expect("still a row")
        })
        .collect()
}

/// Words, or a line that blanks divide.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(untagged)]
pub enum Words {
    /// Divided by blanks.
    Line(String),
    /// As they are.
    Exact(Vec<String>),
}

impl Words {
    /// The words.
    pub fn list(&self) -> Vec<String> {
        match self {
            Self::Line(line) => line.split_whitespace().map(str::to_owned).collect(),
            Self::Exact(words) => words.clone(),
        }
    }
}
