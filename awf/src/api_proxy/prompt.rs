//! The body of a question, as far as it is changed: which model, a warning in it, and that a stream tells what it used.
//!
//! Owns which fields are looked at. Takes the bytes of a JSON object, gives them back with single fields replaced and all
//! others untouched, byte for byte and in their order, because providers cache by them. Must never look at what is said.

use std::fmt;

use hyper::http::request::Parts;
use hyper::{Method, header};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use crate::plan::api_proxy::Provider;

/// Ends of paths at which a model answers.
const RUNS: [&str; 4] = ["/chat/completions", "/completions", "/responses", "/messages"];
/// Likewise, after a colon: Google's.
const GOOGLE_RUNS: [&str; 4] =
    ["generateContent", "streamGenerateContent", "rawPredict", "streamRawPredict"];

/// Whether a model is to answer.
pub(super) fn is_run(parts: &Parts) -> bool {
    let path = parts.uri.path().trim_end_matches('/');
    let method = path.rsplit('/').next().and_then(|last| last.split_once(':'));
    let google = method.is_some_and(|(_model, method)| GOOGLE_RUNS.contains(&method));
    parts.method == Method::POST && (google || RUNS.iter().any(|end| path.ends_with(end)))
}

/// Whether a request has a body in which a model may be named.
pub(super) fn is_json(parts: &Parts) -> bool {
    let kind = parts.headers.get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes);
    let json = kind.is_some_and(|kind| kind.to_ascii_lowercase().windows(4).any(|w| w == b"json"));
    json && [Method::POST, Method::PUT, Method::PATCH].contains(&parts.method)
}

/// The model that a path names: Google's do, and Azure's.
pub(super) fn model_in(path: &str) -> Option<&str> {
    let after = |name: &str| {
        let (_before, rest) = path.split_once(name)?;
        rest.split(['/', ':']).next().filter(|model| !model.is_empty())
    };
    after("/models/").or_else(|| after("/deployments/"))
}

/// A JSON object with its fields as they were written.
#[derive(Debug)]
pub(super) struct Prompt(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Prompt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Prompt;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Prompt, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Prompt(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl Prompt {
    /// Reads a body. Refuses one that two readers could take for questions to two models: with a field twice, or in another
    /// case, which some readers take for the same.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let prompt: Self = serde_json::from_slice(bytes)
            .map_err(|_error| "the body is not one JSON object, so that its model is unknown")?;
        let models = prompt.0.iter().filter(|(name, _value)| name.eq_ignore_ascii_case("model"));
        match models.count() {
            0 | 1 => Ok(prompt),
            _ => Err("the body names its model twice"),
        }
    }

    fn field(&self, name: &str) -> Option<&RawValue> {
        let found = self.0.iter().rev().find(|(field, _value)| field.eq_ignore_ascii_case(name));
        found.map(|(_name, value)| &**value)
    }

    /// The model, if it is named.
    pub(super) fn model(&self) -> Option<String> {
        let model = self.field("model").and_then(|value| serde_json::from_str(value.get()).ok());
        model.filter(|model: &String| !model.trim().is_empty())
    }

    /// Names another model.
    pub(super) fn set_model(&mut self, model: &str) {
        self.set("model", &Value::from(model));
    }

    fn set(&mut self, name: &str, value: &impl serde::Serialize) {
        // Strings and trees of JSON can always be written.
        let Ok(value) = to_raw_value(value) else { return };
        match self.0.iter_mut().find(|(field, _value)| field.eq_ignore_ascii_case(name)) {
            Some((_name, slot)) => *slot = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Asks for counts at the end of a stream, which `OpenAI`'s older protocol leaves out otherwise. Gives whether anything
    /// changed.
    pub(super) fn ask_for_usage(&mut self) -> bool {
        let streams = self.field("stream").is_some_and(|value| value.get() == "true");
        if !streams || self.field("messages").is_none() {
            return false;
        }
        let options = self.field("stream_options");
        let options = options.and_then(|value| serde_json::from_str(value.get()).ok());
        let mut options: Map<String, Value> = options.unwrap_or_default();
        if options.get("include_usage") == Some(&Value::Bool(true)) {
            return false;
        }
        options.insert("include_usage".to_owned(), true.into());
        self.set("stream_options", &options);
        true
    }

    /// Tells the model something beside the question. Gives whether there was a place for it.
    pub(super) fn warn(&mut self, provider: Provider, text: &str) -> bool {
        let told = match provider {
            Provider::Gemini | Provider::Vertex if self.field("contents").is_some() => {
                self.warn_google(text)
            }
            Provider::Anthropic => self.warn_anthropic(text),
            _ => self.warn_openai(text),
        };
        told.is_some()
    }

    fn warn_openai(&mut self, text: &str) -> Option<()> {
        let Some(messages) = self.field("messages") else {
            // The newer protocol.
            self.field("input")?;
            let known = self.field("instructions").filter(|value| value.get() != "null");
            let known = known.map(|value| serde_json::from_str::<String>(value.get())).transpose();
            let known = known.ok()?.map(|known| format!("{known}\n\n")).unwrap_or_default();
            self.set("instructions", &format!("{known}{text}"));
            return Some(());
        };
        let mut messages: Vec<Box<RawValue>> = serde_json::from_str(messages.get()).ok()?;
        let is_system = |message: &RawValue| {
            let role = serde_json::from_str::<Role>(message.get()).ok().and_then(|role| role.role);
            role.is_some_and(|role| role == "system" || role == "developer")
        };
        let place = messages.iter().rposition(|message| is_system(message)).map_or(0, |at| at + 1);
        let warning = to_raw_value(&serde_json::json!({ "role": "system", "content": text }));
        messages.insert(place, warning.ok()?);
        self.set("messages", &messages);
        Some(())
    }

    fn warn_anthropic(&mut self, text: &str) -> Option<()> {
        self.field("messages")?;
        let system = self.field("system").map(|value| value.get().to_owned());
        match system.as_deref() {
            None | Some("null") => self.set("system", &text),
            Some(known) => {
                if let Ok(known) = serde_json::from_str::<String>(known) {
                    self.set("system", &format!("{known}\n\n{text}"));
                } else {
                    let mut blocks: Vec<Box<RawValue>> = serde_json::from_str(known).ok()?;
                    let block = serde_json::json!({ "type": "text", "text": text });
                    blocks.push(to_raw_value(&block).ok()?);
                    self.set("system", &blocks);
                }
            }
        }
        Some(())
    }

    fn warn_google(&mut self, text: &str) -> Option<()> {
        let name = if self.field("system_instruction").is_some() {
            "system_instruction"
        } else {
            "systemInstruction"
        };
        let known = self.field(name).map(|value| serde_json::from_str(value.get())).transpose();
        let mut system: Map<String, Value> = known.ok()?.unwrap_or_default();
        let parts = system.entry("parts").or_insert_with(|| Value::Array(Vec::new()));
        parts.as_array_mut()?.push(serde_json::json!({ "text": text }));
        self.set(name, &system);
        Some(())
    }

    /// The body again.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut bytes = vec![b'{'];
        for (index, (name, value)) in self.0.iter().enumerate() {
            if index > 0 {
                bytes.push(b',');
            }
            bytes.extend_from_slice(Value::from(name.as_str()).to_string().as_bytes());
            bytes.push(b':');
            bytes.extend_from_slice(value.get().as_bytes());
        }
        bytes.push(b'}');
        bytes
    }
}

/// A message, as far as it is looked at.
#[derive(serde::Deserialize)]
struct Role {
    role: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn warned(provider: Provider, body: &str, expected: &str) {
        let mut prompt = Prompt::read(body.as_bytes()).unwrap();
        assert_eq!(prompt.warn(provider, "W"), body != expected);
        assert_eq!(String::from_utf8(prompt.write()).unwrap(), expected);
    }

    #[test]
    fn what_is_not_changed_stays_as_it_was() {
        let body = r#"{"z": 1.00,"tools":[ {"b":1,"a":2} ],"model":"a","x":"\u00e9"}"#;
        let mut prompt = Prompt::read(body.as_bytes()).unwrap();
        assert_eq!(prompt.model().as_deref(), Some("a"));
        prompt.set_model("b\"");
        let expected = r#"{"z":1.00,"tools":[ {"b":1,"a":2} ],"model":"b\"","x":"\u00e9"}"#;
        assert_eq!(String::from_utf8(prompt.write()).unwrap(), expected);
    }

    #[test]
    fn a_question_goes_to_one_model() {
        for body in [
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","Model":"b"}"#,
            r#"{"mod\u0065l":"a","model":"b"}"#,
            "[]",
            "",
            "{} {}",
            r#"{"model":"#,
        ] {
            assert!(Prompt::read(body.as_bytes()).is_err(), "{body}");
        }
        let model = |body: &str| Prompt::read(body.as_bytes()).unwrap().model();
        assert_eq!(model(r#"{"MODEL":"a"}"#).as_deref(), Some("a"));
        assert_eq!(
            (model(r#"{"model":3}"#), model("{}"), model(r#"{"model":" "}"#)),
            (None, None, None)
        );
    }

    #[test]
    fn a_warning_stands_where_the_provider_looks() {
        let openai = Provider::OpenAi;
        warned(
            openai,
            r#"{"messages":[{"role":"system","content":"s"},{"role":"user"}]}"#,
            r#"{"messages":[{"role":"system","content":"s"},{"content":"W","role":"system"},{"role":"user"}]}"#,
        );
        warned(openai, r#"{"messages":[]}"#, r#"{"messages":[{"content":"W","role":"system"}]}"#);
        warned(openai, r#"{"input":"i"}"#, r#"{"input":"i","instructions":"W"}"#);
        warned(
            Provider::Copilot,
            r#"{"instructions":"a","input":[]}"#,
            r#"{"instructions":"a\n\nW","input":[]}"#,
        );
        warned(openai, r#"{"messages":3}"#, r#"{"messages":3}"#);
        warned(openai, "{}", "{}");
        let anthropic = Provider::Anthropic;
        warned(anthropic, r#"{"messages":[]}"#, r#"{"messages":[],"system":"W"}"#);
        warned(
            anthropic,
            r#"{"system":"s","messages":[]}"#,
            r#"{"system":"s\n\nW","messages":[]}"#,
        );
        warned(
            anthropic,
            r#"{"system":[{"x":1}],"messages":[]}"#,
            r#"{"system":[{"x":1},{"text":"W","type":"text"}],"messages":[]}"#,
        );
        warned(
            Provider::Gemini,
            r#"{"contents":[],"systemInstruction":{"parts":[{"text":"s"}]}}"#,
            r#"{"contents":[],"systemInstruction":{"parts":[{"text":"s"},{"text":"W"}]}}"#,
        );
    }

    #[test]
    fn a_stream_is_made_to_tell() {
        let told = |body: &str| {
            let mut prompt = Prompt::read(body.as_bytes()).unwrap();
            prompt.ask_for_usage().then(|| String::from_utf8(prompt.write()).unwrap())
        };
        assert_eq!(
            told(r#"{"stream":true,"messages":[],"stream_options":{"a":1}}"#).unwrap(),
            r#"{"stream":true,"messages":[],"stream_options":{"a":1,"include_usage":true}}"#
        );
        assert!(told(r#"{"stream":false,"messages":[]}"#).is_none());
        assert!(told(r#"{"stream":true,"input":[]}"#).is_none());
        let told_already =
            r#"{"stream":true,"messages":[],"stream_options":{"include_usage":true}}"#;
        assert!(told(told_already).is_none());
    }

    #[test]
    fn a_run_is_known_by_its_path() {
        let parts = |method: &str, path: &str| {
            hyper::Request::builder().method(method).uri(path).body(()).unwrap().into_parts().0
        };
        for path in [
            "/v1/chat/completions",
            "/responses",
            "/v1/messages?beta=true",
            "/v1beta/models/g:streamGenerateContent?alt=sse",
        ] {
            assert!(is_run(&parts("POST", path)), "{path}");
            assert!(!is_run(&parts("GET", path)), "{path}");
        }
        for path in
            ["/v1/models", "/v1/messages/count_tokens", "/v1/files", "/v1beta/models/g:countTokens"]
        {
            assert!(!is_run(&parts("POST", path)), "{path}");
        }
        assert_eq!(
            model_in("/v1beta/models/gemini-2.5-pro:generateContent"),
            Some("gemini-2.5-pro")
        );
        assert_eq!(model_in("/openai/deployments/own/chat/completions"), Some("own"));
        assert_eq!(model_in("/v1/models"), None);
    }
}
