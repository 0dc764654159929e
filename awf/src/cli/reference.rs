//! What is written about the options elsewhere: manual page, completions, the reference.
//!
//! Takes the parser, the schema of the configuration file and the table of old options, gives texts.
//! Must never describe anything itself: what is said here is said at the option.

use std::collections::BTreeMap;

use clap_complete::Shell;
use serde_json::Value;

use super::args::shown;
use super::config;
use super::legacy;
use crate::exit;

/// The script that completes awf's options in a shell.
pub(super) fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut shown(), "awf", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The manual page, in roff.
pub(super) fn manual() -> String {
    let mut page = Vec::new();
    // A Vec takes everything.
    clap_mangen::Man::new(shown()).render(&mut page).unwrap_or_default();
    String::from_utf8_lossy(&page).into_owned()
}

/// All options and keys, in Markdown.
pub(super) fn options() -> String {
    let mut text = "# Options\n\n<!-- made by `cargo xtask docs` -->\n\nOptions stand before `--`; of an option that may \
                    not be repeated the last one counts. A key of the configuration file (`--config`) counts if its \
                    option is not on the command line.\n"
        .to_owned();
    let (parser, keys) = (shown(), keys());
    let visible = || parser.get_arguments().filter(|option| !option.is_hide_set());
    let mut headings: Vec<Option<&str>> = Vec::new();
    for option in visible() {
        if !headings.contains(&option.get_help_heading()) {
            headings.push(option.get_help_heading());
        }
    }
    for heading in headings {
        text += &["\n## ", heading.unwrap_or("General"), "\n"].concat();
        for option in visible().filter(|option| option.get_help_heading() == heading) {
            text += &of_option(option, &keys);
        }
    }
    text += &of_the_original();
    text += &of_the_file_alone();
    text += "\n## Exit codes\n\nThe command's own, 128 + n if signal n ended it, and:\n\n| code | meaning |\n|---|---|\n";
    let row = |(exit, meaning): &(exit::Exit, &str)| format!("| {} | {meaning} |\n", exit.code());
    text + &exit::TABLE.iter().map(row).collect::<String>()
}

fn of_option(option: &clap::Arg, keys: &BTreeMap<String, String>) -> String {
    let Some(long) = option.get_long() else { return String::new() };
    let short = option.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    let value = option.get_value_names().filter(|_| option.get_action().takes_values());
    let value = value.and_then(|names| names.first()).map(|name| format!(" <{name}>"));
    let help = option.get_long_help().or_else(|| option.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let key = keys.get(&format!("--{long}")).map(|key| format!("\nKey: `{key}`\n"));
    let (value, key) = (value.unwrap_or_default(), key.unwrap_or_default());
    format!("\n### `{short}--{long}{value}`\n\n{help}.\n{key}")
}

fn of_the_original() -> String {
    let mut rows: Vec<(String, String)> = Vec::new();
    let keys = keys();
    for row in legacy::TABLE {
        let alias = row.alias.map(|alias| format!(", `--{alias}`")).unwrap_or_default();
        let key = keys.get(row.name).map(|key| format!(" (`{key}`)")).unwrap_or_default();
        let names = format!("`{}`{alias}{key}", row.name);
        match rows.last_mut() {
            Some((above, answer)) if *answer == row.answer.in_words() => {
                *above = [above.as_str(), ", ", &names].concat();
            }
            _ => rows.push((names, row.answer.in_words())),
        }
    }
    let head = "\n## Of the original, answered in one sentence\n\n| option | answer |\n|---|---|\n"
        .to_owned();
    rows.iter().fold(head, |text, (names, answer)| format!("{text}| {names} | {answer} |\n"))
}

fn of_the_file_alone() -> String {
    let mut text =
        "\n## Keys of the configuration file without an option\n\n| key | meaning |\n|---|---|\n"
            .to_owned();
    for (key, description) in leaves() {
        if !description.contains("`--") {
            text += &["| `", &key, "` | ", &description.replace('\n', " "), " |\n"].concat();
        }
    }
    text
}

/// Stands for another provider, whose options it fills in.
const TWIN: &str = "apiProxy.targets.antigravity.";

/// The key of each option: the schema's words name the option.
pub(super) fn keys() -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    for (key, description) in leaves().into_iter().filter(|(key, _)| !key.starts_with(TWIN)) {
        for option in description.split('`').filter(|part| part.starts_with("--")) {
            keys.entry(option.to_owned()).or_insert_with(|| key.clone());
        }
    }
    keys
}

/// Keys that hold a value, with their words.
pub(super) fn leaves() -> Vec<(String, String)> {
    fn walk(schema: &Value, path: &str, found: &mut Vec<(String, String)>) {
        let Some(fields) = schema.get("properties").and_then(Value::as_object) else { return };
        for (name, below) in fields {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if below.get("properties").is_some() {
                walk(below, &path, found);
            } else {
                let words = below.get("description").and_then(Value::as_str).unwrap_or_default();
                // Providers share the words of their servers.
                let above = path.rsplit('.').nth(1).unwrap_or_default();
                let words = words.replace("<provider>", above);
                found.push((path, words));
            }
        }
    }
    let mut found = Vec::new();
    walk(&config::json_schema(), "", &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::super::args::parser;
    use super::*;

    #[test]
    fn every_option_and_every_key_is_in_the_reference() {
        let text = options();
        for option in parser().get_arguments().filter_map(clap::Arg::get_long) {
            assert!(text.contains(&format!("--{option}")), "{option}");
        }
        for (key, words) in leaves() {
            assert!(!words.is_empty(), "{key} is not described");
            let twin = key.starts_with(TWIN);
            assert!(twin || text.contains(&format!("`{key}`")), "{key}");
        }
    }

    #[test]
    fn keys_name_options_that_exist() {
        let parser = parser();
        let known = |option: &str| {
            parser
                .get_arguments()
                .any(|known| known.get_long() == Some(option.trim_start_matches('-')))
        };
        for (option, key) in keys() {
            assert!(known(&option), "{key} stands for {option}");
        }
    }

    #[test]
    fn completions_offer_what_help_lists() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = completions(shell);
            assert!(script.contains("allow-domains"), "{shell}");
            assert!(!script.contains("cloud-hypervisor"), "{shell}");
        }
        assert!(manual().contains("allow\\-domains"));
    }
}
