//! What is to be looked into: `--ssl-bump`, `--allow-urls`, `--enable-dlp`.
//!
//! Takes the options as typed, gives what they mean. Must never accept a pattern that could be read in two ways.

use super::domains::items;
use super::options::ProxyArgs;
use super::usage::UsageError;
use crate::policy::{UrlPattern, UrlRules};

const URLS: &str = "--allow-urls";

/// What is to be looked into.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Whether TLS is ended and made anew.
    pub bump: bool,
    /// The only URLs of their hosts.
    pub urls: UrlRules,
    /// Whether credentials in URLs are refused.
    pub dlp: bool,
}

impl Inspection {
    /// Reads the options.
    pub(super) fn of(args: &ProxyArgs, notices: &mut Vec<String>) -> Result<Self, UsageError> {
        let (bump, dlp) = (args.ssl_bump, args.enable_dlp);
        if dlp && !bump {
            notices.push(
                "--enable-dlp looks at plain HTTP only: what is in TLS is not seen without --ssl-bump"
                    .to_owned(),
            );
        }
        let urls = args.allow_urls.as_deref().map(|list| urls(list, bump)).transpose()?;
        Ok(Self { bump, urls: urls.unwrap_or_default(), dlp })
    }
}

fn urls(list: &str, bump: bool) -> Result<UrlRules, UsageError> {
    let pattern = |text: &str| {
        let read = UrlPattern::parse(text);
        read.map_err(|error| UsageError::value(URLS, text, error.problem, error.remedy))
    };
    let patterns = items(list).map(pattern).collect::<Result<Vec<_>, _>>()?;
    if patterns.is_empty() {
        let remedy = "write URLs separated by commas, such as https://github.com/my-org/*";
        return Err(UsageError::value(URLS, list, "the list is empty", remedy));
    }
    if !bump {
        let problem = "URLs are inside TLS, which is not looked into";
        return Err(UsageError::value(URLS, list, problem, "add --ssl-bump"));
    }
    Ok(UrlRules::new(patterns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bump: bool, urls: Option<&str>, dlp: bool) -> Result<(Inspection, usize), UsageError> {
        let allow_urls = urls.map(str::to_owned);
        let args =
            ProxyArgs { ssl_bump: bump, allow_urls, enable_dlp: dlp, ..ProxyArgs::default() };
        let mut notices = Vec::new();
        Inspection::of(&args, &mut notices).map(|inspection| (inspection, notices.len()))
    }

    #[test]
    fn urls_need_what_makes_them_visible() {
        let list = " https://a.example/x , https://b.example/* ";
        let (inspection, _) = read(true, Some(list), false).unwrap();
        assert_eq!(inspection.urls.patterns().len(), 2);
        let error = read(false, Some(list), false).unwrap_err().to_string();
        assert!(error.contains("--allow-urls") && error.contains("--ssl-bump"), "{error}");
        for wrong in ["", ",", "https://a.example/x,b.example/y"] {
            let error = read(true, Some(wrong), false).unwrap_err().to_string();
            assert!(error.starts_with("--allow-urls"), "{error}");
        }
    }

    #[test]
    fn whoever_looks_for_credentials_is_told_where_they_are_not_seen() {
        assert_eq!(read(false, None, true).unwrap().1, 1);
        assert_eq!(read(true, None, true).unwrap().1, 0);
    }
}
