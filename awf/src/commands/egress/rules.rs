//! What every rule of the record means, as a page of Markdown.

use crate::observe::rules::{RULES, Rule, sentence};

const HEAD: &str = "\
# Rules of the record

The `rule` of a line of `egress.jsonl` says what decided. Rules of the policy have the ids of the original's `policy-manifest.json`;
`*` stands for any end. A grave rule refuses what programs that only do their work do not try, a routine one what many programs try
as a matter of course and do without.

| rule | weight | meaning | what to do |
|---|---|---|---|
";

/// The page.
pub(super) fn page() -> String {
    RULES.iter().fold(HEAD.to_owned(), |page, rule| page + &row(rule))
}

fn row(Rule { ids, title, meaning, remedy, weight }: &Rule) -> String {
    let ids: Vec<String> = ids.iter().map(|id| format!("`{id}`")).collect();
    let weight = weight.word();
    let (title, remedy) = (sentence(title), sentence(remedy.text()));
    format!("| {} | {weight} | {title} {meaning} | {remedy} |\n", ids.join(" "))
}
