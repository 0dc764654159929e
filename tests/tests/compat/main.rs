//! What the original understands (reference: awf-surface.md, sections 1, 2, 4, 5, 7, 8 and 9), row by row, as data beside
//! this file. A row that names what `differs` is different on purpose, and the words say why; `awf/docs/differences.md` is
//! made of them.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::tests_outside_test_module,
    reason = "the whole file is a test; clippy knows that of functions marked as tests only"
)]

mod rows;
mod domains;
mod environment;
mod keys;
mod options;
mod urls;

use rows::every_row;

#[test]
fn the_command_line_is_read_as_the_original_reads_it() {
    every_row::<options::Line>(include_str!("parsing.yaml"), 40);
}

#[test]
fn every_option_means_what_it_means_to_the_original() {
    every_row::<options::Line>(include_str!("options.yaml"), 250);
}

#[test]
fn every_key_of_the_file_means_what_it_means_to_the_original() {
    every_row::<keys::Entry>(include_str!("keys.yaml"), 110);
}

#[test]
fn every_domain_opens_and_closes_what_it_does_in_the_original() {
    every_row::<domains::Lists>(include_str!("domains.yaml"), 90);
}

#[test]
fn every_url_opens_and_closes_what_it_was_meant_to() {
    every_row::<urls::Patterns>(include_str!("urls.yaml"), 28);
}

#[test]
fn the_command_gets_the_variables_of_the_original() {
    every_row::<environment::Variables>(include_str!("environment.yaml"), 75);
}

/// The list for readers, from the same rows.
#[test]
fn the_list_of_differences_is_current() {
    let mut text =
        "# Where awf differs from the original on purpose\n\n<!-- made by tests/tests/compat; \
                    AWF_WRITE_DIFFERENCES=1 writes it -->\n"
            .to_owned();
    for (title, part) in [
        ("Command line", rows::differences::<options::Line>(include_str!("parsing.yaml"))),
        ("Options", rows::differences::<options::Line>(include_str!("options.yaml"))),
        ("Configuration file", rows::differences::<keys::Entry>(include_str!("keys.yaml"))),
        ("Domains", rows::differences::<domains::Lists>(include_str!("domains.yaml"))),
        ("URLs", rows::differences::<urls::Patterns>(include_str!("urls.yaml"))),
        (
            "Environment",
            rows::differences::<environment::Variables>(include_str!("environment.yaml")),
        ),
    ] {
        text += &["\n## ", title, "\n\n| what | in awf | |\n|---|---|---|\n", &part].concat();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../awf/docs/differences.md");
    if std::env::var_os("AWF_WRITE_DIFFERENCES").is_some() {
        std::fs::write(path, &text).expect("write the list");
    }
    let old = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(old, text, "run the compat tier with AWF_WRITE_DIFFERENCES=1");
}
