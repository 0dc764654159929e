//! The command as one line for the shell.
//!
//! Owns the quoting. Takes words, gives the line that `bash -c` will read.

use super::options::Args;
use super::usage::UsageError;

/// One word is a line in the shell's language and stays as it is; several are a program and its
/// arguments, which the shell must see unchanged.
pub(super) fn line(args: &Args) -> Result<String, UsageError> {
    let words: Vec<&String> = args.words.iter().chain(&args.command).collect();
    match words.as_slice() {
        // An empty line would succeed, and hide the empty variable that it was made of.
        [] => Err(UsageError::NoCommand),
        [line] if line.trim().is_empty() => Err(UsageError::NoCommand),
        [line] => Ok((*line).clone()),
        words => Ok(words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")),
    }
}

/// Quotes a word so that the shell reads exactly it.
fn quote(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./=:".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &[&str], expected: &str) {
        let command = words.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(line(&Args { command, ..Args::default() }).unwrap(), expected);
    }

    #[test]
    fn one_word_is_a_shell_line() {
        check(&["curl -f $URL | head -1"], "curl -f $URL | head -1");
        check(&["it's"], "it's");
    }

    #[test]
    fn several_words_survive_the_shell() {
        check(&["curl", "-f", "https://a.com:443/x?y"], "curl -f 'https://a.com:443/x?y'");
        check(&["KEY=a_b", "./x-1.sh"], "KEY=a_b ./x-1.sh");
        check(&["/bin/bash", "-c", "echo 'a' $HOME"], r"/bin/bash -c 'echo '\''a'\'' $HOME'");
        check(&["printf", "", "a b", "\n", "é"], "printf '' 'a b' '\n' 'é'");
        check(&["a", "~", "*", "#", "!", "a,b"], "a '~' '*' '#' '!' 'a,b'");
    }

    #[test]
    fn words_before_and_behind_two_dashes_are_one_command() {
        let args = Args {
            words: vec!["curl".into()],
            command: vec!["-f".into(), "u".into()],
            ..Args::default()
        };
        assert_eq!(line(&args).unwrap(), "curl -f u");
    }

    #[test]
    fn an_empty_command_is_refused() {
        for command in [vec![], vec![String::new()], vec![" \n".to_owned()]] {
            let refused = line(&Args { command, ..Args::default() });
            assert!(matches!(refused, Err(UsageError::NoCommand)));
        }
    }
}
